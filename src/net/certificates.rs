//! Certificates from PEM files, and which of them a client is shown.

use super::CertificateFiles;
use super::NetError;
use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem;
use rustls_pki_types::pem::PemObject;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Chooses by SNI: an exact name, a wildcard of one label, else the first certificate.
#[derive(Debug)]
pub(super) struct Certificates {
    by_name: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
    /// When the first of them to end does, in seconds since 1970.
    pub expiry: i64,
    /// SHA-256 of every chain and key, in their order.
    pub fingerprint: Vec<u8>,
}

/// What is read from a leaf.
struct Leaf {
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

impl Certificates {
    /// Loads `files`, of which there must be at least one.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(
        files: &[CertificateFiles],
        provider: &CryptoProvider,
        now: OffsetDateTime,
    ) -> Result<Option<Self>, NetError> {
        let mut loaded: Option<Self> = None;
        let mut seen = digest::Context::new(&digest::SHA256);
        for one in files {
            let (key, leaf) = load(one, provider, &mut seen)?;
            warn_of_dates(&one.chain, &leaf, now);
            let certificates = loaded.get_or_insert_with(|| Self {
                by_name: HashMap::new(),
                first: Arc::clone(&key),
                expiry: leaf.not_after,
                fingerprint: Vec::new(),
            });
            certificates.expiry = certificates.expiry.min(leaf.not_after);
            for name in leaf.names {
                // Of two certificates for one name, the one named first is shown.
                certificates.by_name.entry(name).or_insert_with(|| Arc::clone(&key));
            }
        }
        if let Some(loaded) = &mut loaded {
            loaded.fingerprint = seen.finish().as_ref().to_vec();
        }
        Ok(loaded)
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(found.unwrap_or(&self.first)))
    }
}

/// An error about the certificate file `path`.
pub(super) fn unusable(path: &Path, what: impl Into<String>) -> NetError {
    NetError::Certificate {
        path: path.to_owned(),
        what: what.into(),
    }
}

fn load(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    seen: &mut digest::Context,
) -> Result<(Arc<CertifiedKey>, Leaf), NetError> {
    let chain = CertificateDer::pem_file_iter(&files.chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(&files.chain, describe(&error, "certificate")))?;
    for one in &chain {
        seen.update(one);
    }
    let Some(leaf) = chain.first() else {
        return Err(unusable(
            &files.chain,
            "there is no certificate in it; it must be PEM, the server's own first",
        ));
    };
    let leaf = read_leaf(leaf).ok_or_else(|| unusable(&files.chain, "its first certificate is damaged"))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, describe(&error, "private key")))?;
    seen.update(key.secret_der());
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        unusable(
            &files.key,
            "the key is of a kind that is not supported; use RSA, ECDSA or Ed25519",
        )
    })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| {
        let chain = files.chain.display();
        unusable(
            &files.key,
            format!("the key does not belong to the first certificate in {chain}"),
        )
    })?;
    Ok((Arc::new(certified), leaf))
}

fn describe(error: &pem::Error, what: &str) -> String {
    match error {
        pem::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        pem::Error::Io(error) => format!("it cannot be read: {error}"),
        pem::Error::NoItemsFound => format!("there is no {what} in it; it must be PEM"),
        _ => format!("it is not a {what} in PEM"),
    }
}

fn read_leaf(der: &CertificateDer<'_>) -> Option<Leaf> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(Leaf {
        names: names(&certificate),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// The DNS names of a certificate, in lower case.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

fn warn_of_dates(path: &Path, leaf: &Leaf, now: OffsetDateTime) {
    let now = now.unix_timestamp();
    let file = path.display();
    if leaf.not_after <= now {
        tracing::warn!(certificate.file = %file, "the certificate has expired; browsers will refuse it: renew it");
    } else if leaf.not_before > now {
        tracing::warn!(certificate.file = %file, "the certificate is not valid yet; is the clock right?");
    }
}
