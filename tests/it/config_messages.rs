//! What is said of a configuration that is wrong, and what a right one becomes.

use portcullis::config;
use portcullis::config::Environment;
use portcullis::config::Loaded;
use portcullis::config::Problems;
use portcullis::config::Quick;
use portcullis::config::Sources;
use portcullis::config::Text;
use portcullis::net::TlsSettings;
use portcullis::proxy::Access;
use portcullis::proxy::PathPattern;
use portcullis::proxy::Preset;
use portcullis::store::Place;
use portcullis::web::Purpose;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// The least that works; tests put something wrong behind it or in place of a part.
const WHOLE: &str = r#"
[[listener]]
address = "127.0.0.1:8443"
certificates = "local"
[[upstream]]
name = "app"
servers = ["http://127.0.0.1:3000"]
[[route]]
name = "app"
upstream = "app"
"#;

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
    config::load(Sources {
        text: Text::Given {
            name: "portcullis.toml".to_owned(),
            text: text.to_owned(),
            folder: PathBuf::from("/etc/portcullis"),
        },
        environment: Environment::from_pairs(environment.iter().copied()),
        options: Vec::new(),
    })
}

fn load(text: &str) -> Result<Loaded, Problems> {
    load_with(text, &[])
}

#[test]
fn a_whole_configuration_becomes_settings() {
    let loaded = load(WHOLE).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.data_dir, Path::new("/etc/portcullis/data"));
    assert!(
        matches!(&config.store.place, Place::Sqlite { path } if path == Path::new("/etc/portcullis/data/portcullis.db"))
    );
    assert!(config.session.secrets.is_empty());
    assert_eq!(config.net.listeners.len(), 2);
    assert_eq!(config.net.listeners[1].purpose, Purpose::Admin);
    let Some(TlsSettings::Local { hosts, .. }) = &config.net.listeners[0].tls else {
        panic!("no local certificate")
    };
    assert_eq!(hosts, &["localhost", "127.0.0.1", "::1"]);
    let route = &config.proxy.routes[0];
    assert_eq!(route.access, Access::SignedIn);
    assert_eq!(route.path, PathPattern::Prefix("/".to_owned()));
    assert_eq!(route.upstream, Some(0));
    assert_eq!(route.identity.preset, Preset::OAuth2Proxy);
    assert_eq!(config.proxy.upstreams[0].keep_alive, Duration::from_secs(4));
    assert_eq!(config.net.limits.header_bytes, 65_536);
}

#[test]
fn a_quick_start_needs_an_application_and_a_folder() {
    let loaded = config::quick(Quick {
        to: "http://127.0.0.1:3000".to_owned(),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        unsafe_listen_anywhere: false,
        data_dir: PathBuf::from("/var/tmp/p"),
        environment: Environment::default(),
    })
    .unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.data_dir, Path::new("/var/tmp/p"));
    assert_eq!(loaded.config.net.listeners[0].address.port(), 0);
}
