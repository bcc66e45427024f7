use super::{Site, Words, eventually, text};
use crate::support::client::Client;
use crate::support::stage::HOST;
use crate::support::upstream::Upstream;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An authority of its own for each certificate: who trusts one sees which was shown.
pub(super) fn make(folder: &Path, hosts: &[&str]) -> String {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&key).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let leaf = CertificateParams::new(hosts).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&ca, &key)).unwrap();
    std::fs::write(folder.join("site.pem"), leaf.pem()).unwrap();
    std::fs::write(folder.join("site.key"), leaf_key.serialize_pem()).unwrap();
    authority.pem()
}

pub(super) fn with_files(app: &Upstream) -> String {
    let files = "certificates = [{ chain = \"site.pem\", key = \"site.key\" }]";
    text(&Words::default(), app).replace("certificates = \"local\"", files)
}

/// Whether `ca` vouches for what is shown to somebody who asks for `host`.
pub(super) async fn shows(site: &Site, host: &str, ca: &str) -> bool {
    crate::support::tls::connect(site.gateway.address(0), host, ca, &[b"http/1.1"])
        .await
        .is_ok()
}

#[tokio::test]
async fn new_handshakes_get_the_new_certificate_and_open_connections_stay() {
    let (site, cookie) = Site::start().await;
    let mut open = site.client().await;
    let local = site.gateway.ca();
    let first = make(site.folder.path(), &[HOST]);
    site.write_text(&with_files(&site.app));
    assert!(site.reload().status.success());
    assert!(shows(&site, HOST, &first).await);
    assert!(!shows(&site, HOST, &local).await);
    let second = make(site.folder.path(), &[HOST, "new.example.test"]);
    assert!(site.reload().status.success());
    assert!(shows(&site, "new.example.test", &second).await);
    assert!(!shows(&site, HOST, &first).await);
    assert_eq!(open.get(HOST, "/", &[&cookie]).await.status, 200);
}

#[tokio::test]
async fn when_a_certificate_ends_is_told_anew_by_the_metric() {
    let (site, _) = Site::start().await;
    let expiry = async || {
        let mut client = Client::plain(site.gateway.admin()).await;
        let metrics = client.get("localhost", "/metrics", &[]).await.text();
        let name = "portcullis_certificate_expiry_timestamp_seconds{";
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let before = expiry().await;
    make(site.folder.path(), &[HOST]);
    site.write_text(&with_files(&site.app));
    assert!(site.reload().status.success());
    eventually("another end", async || expiry().await != before).await;
}

#[tokio::test]
async fn clients_resume_their_tls_sessions_where_the_certificates_stayed() {
    let (site, _) = Site::start().await;
    let config = crate::support::client::tls_config(&site.gateway.ca(), &[b"http/1.1"]);
    let connect = async || {
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(&config));
        let tcp = tokio::net::TcpStream::connect(site.gateway.address(0)).await.unwrap();
        let name = rustls_pki_types::ServerName::try_from(HOST).unwrap();
        let mut stream = connector.connect(name, tcp).await.unwrap();
        // Tickets come with the first answer.
        let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        stream.get_ref().1.handshake_kind()
    };
    assert_eq!(connect().await, Some(rustls::HandshakeKind::Full));
    assert_eq!(connect().await, Some(rustls::HandshakeKind::Resumed));
    site.applied(&Words {
        top: "[limits]\nbody_bytes = \"1MiB\"\n",
        ..Words::default()
    });
    assert_eq!(connect().await, Some(rustls::HandshakeKind::Resumed));
}
