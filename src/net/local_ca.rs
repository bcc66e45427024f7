//! A certificate authority for one machine: made at first run, able to vouch only for the hosts it was made for, so that
//! trusting it in a browser gives nobody power over other sites.

use super::CertificateFiles;
use super::NetError;
use super::certificates::unusable;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CidrSubnet;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::ExtendedKeyUsagePurpose;
use rcgen::GeneralSubtree;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::NameConstraints;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::BTreeSet;
use std::fs;
use std::fs::DirBuilder;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use time::Duration;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

const CA_LIFE: Duration = Duration::days(3650);
/// Browsers take no more than 398 days.
const LEAF_LIFE: Duration = Duration::days(397);
const RENEW_BEFORE: Duration = Duration::days(30);
/// Clocks of other machines may be behind.
const BACKDATED: Duration = Duration::hours(1);
/// Always covered: a name constraint binds only kinds of names that it mentions, so both kinds must be there.
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the authority's certificate is, for browsers and tests to trust.
#[must_use]
pub fn ca_path(dir: &Path) -> PathBuf {
    dir.join("ca.pem")
}

/// The files of a leaf for `hosts`, made or renewed where needed. The authority's key is kept; its certificate is made
/// anew when it does not cover a host.
pub(super) fn ensure(dir: &Path, hosts: &[String], now: OffsetDateTime) -> Result<CertificateFiles, NetError> {
    let place = Place { dir };
    let files = CertificateFiles {
        chain: dir.join("leaf.pem"),
        key: dir.join("leaf.key"),
    };
    let wanted: BTreeSet<String> = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let covered = covered_by_ca(&wanted);
    let lasts_until = (now + RENEW_BEFORE).unix_timestamp();
    let current_ca = facts(&ca_path(dir)).is_some_and(|ca| ca.constraints == covered && ca.not_after > lasts_until);
    let current_leaf = facts(&files.chain).is_some_and(|leaf| leaf.names == wanted && leaf.not_after > lasts_until);
    if current_ca && current_leaf && files.key.exists() {
        return Ok(files);
    }
    place.make()?;
    let ca_key = place.ca_key()?;
    let ca = ca_params(&covered, now);
    if !current_ca {
        let certificate = ca
            .self_signed(&ca_key)
            .map_err(|error| place.failed("ca.pem", &error))?;
        place.write("ca.pem", &certificate.pem())?;
        tracing::info!(
            certificate.file = %ca_path(dir).display(),
            "made a certificate authority for this machine; trust it once in your browser, and again when its hosts change"
        );
    }
    let leaf_key = KeyPair::generate().map_err(|error| place.failed("leaf.key", &error))?;
    let leaf = leaf_params(&wanted, now)
        .and_then(|leaf| leaf.signed_by(&leaf_key, &Issuer::from_params(&ca, &ca_key)))
        .map_err(|error| place.failed("leaf.pem", &error))?;
    // The key first: a crash in between leaves a pair that does not match, and the chain's age is what asks for renewal.
    let _ = fs::remove_file(&files.chain);
    place.write("leaf.key", &leaf_key.serialize_pem())?;
    place.write("leaf.pem", &leaf.pem())?;
    Ok(files)
}

struct Place<'a> {
    dir: &'a Path,
}

impl Place<'_> {
    fn make(&self) -> Result<(), NetError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.dir)
            .map_err(|error| unusable(self.dir, format!("the folder cannot be made: {error}")))
    }

    fn ca_key(&self) -> Result<KeyPair, NetError> {
        let path = self.dir.join("ca.key");
        match fs::read_to_string(&path) {
            Ok(text) => KeyPair::from_pem(&text)
                .map_err(|_| unusable(&path, "it is no private key; remove it to have a new authority made")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate().map_err(|error| self.failed("ca.key", &error))?;
                // A certificate of the lost key must not stay beside the new one.
                let _ = fs::remove_file(ca_path(self.dir));
                self.write("ca.key", &key.serialize_pem())?;
                Ok(key)
            }
            Err(error) => Err(unusable(&path, format!("it cannot be read: {error}"))),
        }
    }

    /// Whole or not at all; only the owner may read it.
    fn write(&self, name: &str, text: &str) -> Result<(), NetError> {
        let path = self.dir.join(name);
        let unfinished = self.dir.join(format!("{name}.{}.new", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(|error| unusable(&path, format!("it cannot be written: {error}")))
    }

    fn failed(&self, name: &str, error: &rcgen::Error) -> NetError {
        unusable(&self.dir.join(name), format!("it cannot be made: {error}"))
    }
}

/// What the authority may vouch for: DNS names without their wildcard label, and addresses.
fn covered_by_ca(hosts: &BTreeSet<String>) -> BTreeSet<String> {
    let hosts = hosts
        .iter()
        .map(|host| host.strip_prefix("*.").unwrap_or(host).to_owned());
    hosts.chain(ALWAYS.map(str::to_owned)).collect()
}

fn ca_params(covered: &BTreeSet<String>, now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Portcullis local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = now - BACKDATED;
    params.not_after = now + CA_LIFE;
    let subtree = |host: &String| match host.parse::<IpAddr>() {
        Ok(address) => GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(
            address,
            if address.is_ipv4() { 32 } else { 128 },
        )),
        Err(_) => GeneralSubtree::DnsName(host.clone()),
    };
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: covered.iter().map(subtree).collect(),
        excluded_subtrees: Vec::new(),
    });
    params
}

fn leaf_params(hosts: &BTreeSet<String>, now: OffsetDateTime) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(hosts.iter().cloned().collect::<Vec<_>>())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Portcullis");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - BACKDATED;
    params.not_after = now + LEAF_LIFE - BACKDATED;
    Ok(params)
}

/// What is read back from a file of ours.
struct Facts {
    names: BTreeSet<String>,
    constraints: BTreeSet<String>,
    not_after: i64,
}

/// `None` for a file that is not there or not a certificate: it is made anew.
fn facts(path: &Path) -> Option<Facts> {
    let der = CertificateDer::from_pem_file(path).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let names = alternative.map(|extension| extension.value.general_names.iter().filter_map(name).collect());
    let limits = certificate.name_constraints().ok().flatten();
    let permitted = limits.and_then(|extension| extension.value.permitted_subtrees.as_ref());
    Some(Facts {
        names: names.unwrap_or_default(),
        constraints: permitted
            .map(|trees| trees.iter().filter_map(|tree| name(&tree.base)).collect())
            .unwrap_or_default(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// A DNS name or address as text; an address in a constraint has its mask behind it, always that of one host here.
fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                4 | 8 => IpAddr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?),
                16 | 32 => IpAddr::from(<[u8; 16]>::try_from(&bytes[..16]).ok()?),
                _ => return None,
            };
            Some(address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::ca_path;
    use super::ensure;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use time::Duration;
    use time::OffsetDateTime;

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn read(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap()
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_790_000_000).unwrap()
    }

    #[test]
    fn keys_and_folder_are_only_for_the_owner() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("tls");
        ensure(&dir, &hosts(&["localhost"]), now()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("ca.key")), 0o600);
        assert_eq!(mode(&dir.join("leaf.key")), 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 4);
    }

    #[test]
    fn a_second_start_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let names = hosts(&["app.example.test", "*.example.test", "192.0.2.1"]);
        ensure(dir.path(), &names, now()).unwrap();
        let before = ["ca.pem", "ca.key", "leaf.pem", "leaf.key"].map(|name| read(dir.path(), name));
        ensure(dir.path(), &names, now() + Duration::days(300)).unwrap();
        assert_eq!(
            before,
            ["ca.pem", "ca.key", "leaf.pem", "leaf.key"].map(|name| read(dir.path(), name))
        );
    }

    #[test]
    fn a_leaf_near_its_end_is_renewed_under_the_same_authority() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), &hosts(&["localhost"]), now()).unwrap();
        let (ca, leaf) = (read(dir.path(), "ca.pem"), read(dir.path(), "leaf.pem"));
        ensure(dir.path(), &hosts(&["localhost"]), now() + Duration::days(380)).unwrap();
        assert_eq!(ca, fs::read_to_string(ca_path(dir.path())).unwrap());
        assert_ne!(leaf, read(dir.path(), "leaf.pem"));
    }

    #[test]
    fn other_hosts_get_another_leaf_and_the_authority_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        ensure(dir.path(), &hosts(&["localhost"]), now()).unwrap();
        let (ca, key, leaf) = (
            read(dir.path(), "ca.pem"),
            read(dir.path(), "ca.key"),
            read(dir.path(), "leaf.pem"),
        );
        ensure(dir.path(), &hosts(&["localhost", "app.example.test"]), now()).unwrap();
        assert_ne!(
            ca,
            read(dir.path(), "ca.pem"),
            "its constraints must cover the new host"
        );
        assert_eq!(key, read(dir.path(), "ca.key"));
        assert_ne!(leaf, read(dir.path(), "leaf.pem"));
    }

    #[test]
    fn a_broken_authority_key_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let error = ensure(dir.path(), &hosts(&["localhost"]), now())
            .unwrap_err()
            .to_string();
        assert!(error.contains("ca.key") && error.contains("remove it"), "{error}");
    }
}
