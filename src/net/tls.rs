//! TLS 1.2 and 1.3 of one listener.

use super::CertificateFiles;
use super::NetError;
use super::TlsSettings;
use super::certificates::Certificates;
use super::certificates::unusable;
use super::local_ca;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::ServerSessionMemoryCache;
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;

/// TLS 1.2 sessions that are remembered for clients without tickets.
const REMEMBERED_SESSIONS: usize = 4096;

/// What a listener with TLS needs.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub config: Arc<ServerConfig>,
    /// When the first certificate ends, in seconds since 1970.
    pub expiry: Option<i64>,
    /// SHA-256 of the files it was made of.
    files: Vec<u8>,
}

impl Tls {
    /// `self`, or `before` where that shows the same certificates: its clients can go on with what they resumed.
    pub fn or_unchanged(self, before: Option<&Self>) -> Self {
        match before {
            Some(before) if before.files == self.files => before.clone(),
            _ => self,
        }
    }
}

/// Loads the certificates, making local ones where asked, and builds the configuration.
pub(super) fn load(settings: &TlsSettings, now: OffsetDateTime) -> Result<Tls, NetError> {
    match settings {
        TlsSettings::Files(files) => load_files(files, now),
        TlsSettings::Local { dir, hosts } => {
            let made = local_ca::ensure(dir, hosts, now)?;
            load_files(&[made], now)
        }
    }
}

fn load_files(files: &[CertificateFiles], now: OffsetDateTime) -> Result<Tls, NetError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let Some(certificates) = Certificates::load(files, &provider, now)? else {
        return Err(unusable(Path::new(""), "a listener with TLS needs a certificate"));
    };
    let expiry = Some(certificates.expiry);
    let files = certificates.fingerprint.clone();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(REMEMBERED_SESSIONS);
    // Without a ticketer rustls sends none, and every TLS 1.3 connection is a full handshake.
    match aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = ticketer,
        Err(error) => tracing::warn!(%error, "no session tickets: the system has no randomness for their keys"),
    }
    Ok(Tls {
        config: Arc::new(config),
        expiry,
        files,
    })
}
