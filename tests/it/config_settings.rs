//! What a right configuration becomes, and the files that are shipped with the program.

use portcullis::config;
use portcullis::config::Environment;
use portcullis::config::Loaded;
use portcullis::config::Problems;
use portcullis::config::Quick;
use portcullis::config::Setting;
use portcullis::config::Sources;
use portcullis::config::Text;
use portcullis::net::TlsSettings;
use portcullis::proxy::Access;
use portcullis::proxy::HostPattern;
use portcullis::proxy::PathPattern;
use portcullis::proxy::Preset;
use portcullis::session::SameSite;
use portcullis::session::Secure;
use portcullis::store::Place;
use portcullis::web::Purpose;
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// The least that works; tests put something wrong behind it or in place of a part.
pub const WHOLE: &str = r#"
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

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn sources(text: &str, environment: &[(&str, &str)], options: Vec<Setting>) -> Sources {
    Sources {
        text: Text::Given {
            name: "portcullis.toml".to_owned(),
            text: text.to_owned(),
            folder: PathBuf::from("/etc/portcullis"),
        },
        environment: Environment::from_pairs(environment.iter().copied()),
        options,
    }
}

/// Loads a text as if it stood in `/etc/portcullis`.
pub fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Problems> {
    config::load(sources(text, environment, Vec::new()))
}

fn load(text: &str) -> Loaded {
    load_with(text, &[]).unwrap()
}

fn option(key: &'static str, value: &str) -> Setting {
    Setting {
        option: "--option".to_owned(),
        key,
        value: value.to_owned(),
    }
}

#[test]
fn a_whole_configuration_becomes_settings() {
    let loaded = load(WHOLE);
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let config = loaded.config;
    assert_eq!(config.data_dir, Path::new("/etc/portcullis/data"));
    let Place::Sqlite { path } = &config.store.place else {
        panic!("not the embedded store")
    };
    assert_eq!(path, Path::new("/etc/portcullis/data/portcullis.db"));
    assert!(config.session.secrets.is_empty());
    assert_eq!(config.session.idle_timeout, Duration::from_hours(12));
    assert_eq!(config.net.listeners.len(), 2);
    assert_eq!(config.net.listeners[1].purpose, Purpose::Admin);
    let Some(TlsSettings::Local { hosts, .. }) = &config.net.listeners[0].tls else {
        panic!("no local certificate")
    };
    assert_eq!(hosts, &["localhost", "127.0.0.1", "::1"]);
    let route = &config.proxy.routes[0];
    assert_eq!(route.access, Access::SignedIn, "a route without access fails closed");
    assert_eq!(route.path, PathPattern::Prefix("/".to_owned()));
    assert_eq!(route.upstream, Some(0));
    assert_eq!(route.identity.preset, Preset::OAuth2Proxy);
    assert!(route.preserve_host && route.cache_private && !route.api);
    assert_eq!(config.proxy.upstreams[0].keep_alive, Duration::from_secs(4));
    assert_eq!(config.proxy.upstreams[0].response, Duration::from_mins(1));
    assert_eq!(config.net.limits.header_bytes, 65_536);
    assert_eq!(config.net.limits.connections_per_address, None);
    assert_eq!(config.proxy.body_bytes, None);
}

/// Something of everything.
const RICH: &str = r#"
data_dir = "/var/lib/p"
workers = 3
[store]
url = "postgres://u:p@db/d"
listen_url = "postgres://u:p@direct/d"
schema = "own"
[session]
secrets = ["0123456789abcdef0123456789abcdef", "env:OLD"]
cookie = "s"
domains = ["example.com"]
secure = "auto"
[cache]
outage_grace = "1m"
[[listener]]
address = "[::]:8443"
certificates = [{ chain = "a.pem", key = "/k/a.key" }, { chain = "b.pem", key = "b.key" }]
hsts = "365d"
public_port = 443
[[listener]]
address = "[::]:8080"
redirect = "https"
[limits]
connections_per_address = 50
body_bytes = "10MiB"
[[upstream]]
name = "crm"
servers = ["http://127.0.0.1:3000", "http://[::1]:3001"]
timeouts = { response = "5s" }
[[route]]
name = "crm"
host = "*.Example.com"
path = "/app/"
upstream = "crm"
groups = ["staff"]
networks = ["10.0.0.0/8", "192.0.2.7"]
methods = ["GET", "PROPFIND"]
outage_grace = "2m"
set_headers = { "X-Key" = "abc" }
identity = { preset = "remote-user", headers = { "X-Id" = "{id}" }, delimiter = "|", encoding = "utf-8" }
[[route]]
host = "::1"
path_exact = "/health"
access = "public"
"#;

fn rich() -> config::Config {
    load_with(RICH, &[("OLD", "fedcba9876543210fedcba9876543210")])
        .unwrap()
        .config
}

#[test]
fn store_sessions_and_listeners_of_a_rich_configuration_arrive() {
    let config = rich();
    assert_eq!(config.net.workers, 3);
    let Place::Postgres {
        url,
        direct_url,
        schema,
    } = &config.store.place
    else {
        panic!("not Postgres")
    };
    assert_eq!((url.expose_secret(), schema.as_str()), ("postgres://u:p@db/d", "own"));
    assert!(direct_url.is_some());
    let secrets: Vec<_> = config
        .session
        .secrets
        .iter()
        .map(|secret| secret.expose_secret().to_vec())
        .collect();
    assert_eq!(
        secrets,
        [
            &b"0123456789abcdef0123456789abcdef"[..],
            b"fedcba9876543210fedcba9876543210"
        ]
    );
    assert_eq!(config.session.cookie.secure, Secure::Auto);
    let Some(TlsSettings::Files(files)) = &config.net.listeners[0].tls else {
        panic!("no files")
    };
    assert_eq!(
        (files[0].chain.as_path(), files[0].key.as_path()),
        (Path::new("/etc/portcullis/a.pem"), Path::new("/k/a.key"))
    );
    assert_eq!(config.net.listeners[0].hsts, Some(Duration::from_hours(24 * 365)));
    assert_eq!(config.net.listeners[0].public_port, Some(443));
    assert_eq!(config.net.listeners[1].purpose, Purpose::RedirectToHttps);
    assert_eq!(config.net.limits.connections_per_address, Some(50));
}

#[test]
fn routes_and_upstreams_of_a_rich_configuration_arrive() {
    let config = rich();
    assert_eq!(config.proxy.body_bytes, Some(10 << 20));
    assert_eq!(config.proxy.upstreams[0].servers[1].host, "::1");
    assert_eq!(
        config.proxy.upstreams[0].connect,
        Duration::from_secs(2),
        "the rest of a table keeps its defaults"
    );
    let [crm, health] = &config.proxy.routes[..] else {
        panic!("not two routes")
    };
    assert_eq!(crm.host, HostPattern::Wildcard("example.com".to_owned()));
    assert_eq!(crm.path, PathPattern::Prefix("/app".to_owned()));
    assert_eq!(crm.networks.len(), 2);
    assert_eq!(crm.methods.len(), 2);
    assert_eq!(crm.outage_grace, Duration::from_mins(2));
    assert_eq!(crm.identity.delimiter, Some('|'));
    assert_eq!(crm.identity.headers[0].1, "{id}");
    assert_eq!(crm.set_headers[0].1, "abc");
    assert_eq!(health.host, HostPattern::Exact("[::1]".to_owned()));
    assert_eq!(health.path, PathPattern::Exact("/health".to_owned()));
    assert_eq!(health.name, "[::1]/health$");
    assert_eq!(
        health.outage_grace,
        Duration::from_mins(1),
        "the cache's grace is the routes' default"
    );
    assert_eq!(health.upstream, None);
}

#[test]
fn options_come_before_the_environment_and_the_environment_before_the_file() {
    let text = format!("data_dir = \"file\"\n{WHOLE}[session]\nidle_timeout = \"1h\"\nlifetime = \"2h\"\n");
    let environment = [
        ("PORTCULLIS_DATA_DIR", "/environment"),
        ("PORTCULLIS_SESSION_IDLE_TIMEOUT", "30m"),
        ("PORTCULLIS_LIMITS_HEADERS", "50"),
        ("PORTCULLIS_STORE_MIGRATE", "false"),
        ("PORTCULLIS_TRUST_PROXIES", "10.0.0.0/8, 192.0.2.7"),
        ("PORTCULLIS_LOG", "debug"),
        ("PORTCULLIS_CONFIG", "read by the command line"),
        ("PATH", "/bin"),
    ];
    let loaded = config::load(sources(&text, &environment, vec![option("data_dir", "/option")])).unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("/option"));
    assert_eq!(loaded.config.session.idle_timeout, Duration::from_mins(30));
    assert_eq!(loaded.config.session.lifetime, Duration::from_hours(2));
    assert_eq!(loaded.config.net.limits.headers, 50);
    assert!(!loaded.config.store.migrate);
    assert_eq!(loaded.config.proxy.trusted_proxies.len(), 2);
    assert_eq!(loaded.config.log_level, "debug");
}

#[test]
fn texts_hold_variables_of_the_environment() {
    let text = format!(
        "{WHOLE}set_headers = {{ \"X-Cost\" = \"$5 and $${{HOST}}\" }}\n\
         [store]\nurl = \"postgres://u@${{HOST}}:${{PORT:-5434}}/d\"\nmax_connections = \"env:MOST\"\nmigrate = \"${{MIGRATE}}\"\n\
         [session]\nsecrets = [\"env:SECRET\"]\nsecure = \"${{SECURE}}\"\nidle_timeout = \"${{TIMEOUT:-1}}ms\"\n"
    );
    let environment = [
        ("HOST", "db"),
        ("MOST", "3"),
        ("MIGRATE", "false"),
        ("SECURE", "true"),
        ("TIMEOUT", "86400000"),
        ("SECRET", "${HOST}: what stands in a variable is not read again"),
        ("PORTCULLIS_PORTAL_NAME", "${HOST}"),
    ];
    let loaded = load_with(&text, &environment).unwrap();
    let config = &loaded.config;
    let Place::Postgres { url, .. } = &config.store.place else {
        panic!("not Postgres")
    };
    assert_eq!(url.expose_secret(), "postgres://u@db:5434/d");
    assert_eq!((config.store.max_connections, config.store.migrate), (3, false));
    assert_eq!(config.session.cookie.secure, Secure::Always);
    assert_eq!(config.session.idle_timeout, Duration::from_hours(24));
    assert_eq!(config.session.secrets[0].expose_secret()[..8], *b"${HOST}:");
    assert_eq!(config.portal.name.as_deref(), Some("${HOST}"));
    assert_eq!(config.proxy.routes[0].set_headers[0].1, "$5 and ${HOST}");
    let shown = config::show(&loaded, true);
    assert!(shown.contains("idle_timeout = \"86400000ms\""), "{shown}");
    assert!(
        shown.contains("through ${TIMEOUT}") && shown.contains("url = \"(secret)\""),
        "{shown}"
    );
}

#[test]
fn a_variable_chooses_keys_that_come_over_the_others() {
    let text = format!(
        "workers = 1\n{WHOLE}[session]\ncookie = \"s\"\nsame_site = \"none\"\n[when.MODE.development]\nworkers = 2\n\
         [when.MODE.development.session]\nsecure = \"auto\"\nsame_site = \"lax\"\n\
         [[when.MODE.development.listener]]\naddress = \"127.0.0.1:3000\"\n\
         [when.MODE.production]\n[when.MODE.elsewhere.store]\nurl = \"env:NOWHERE\"\n"
    );
    let chosen = |environment: &[(&str, &str)]| {
        let config = load_with(&text, environment).unwrap().config;
        let secure = config.session.cookie.secure;
        (
            config.net.workers,
            secure,
            config.session.cookie.same_site,
            config.net.listeners[0].address.port(),
        )
    };
    let base = (1, Secure::Always, SameSite::None, 8443);
    let development = (2, Secure::Auto, SameSite::Lax, 3000);
    assert_eq!(chosen(&[]), base, "without the variable, nothing comes over the file");
    assert_eq!(chosen(&[("MODE", "production")]), base);
    assert_eq!(chosen(&[("MODE", "development")]), development);
    let over = [("MODE", "development"), ("PORTCULLIS_WORKERS", "3")];
    assert_eq!(chosen(&over).0, 3, "variables of ours come over everything in the file");
    assert!(
        load_with(&text, &[("MODE", "elsewhere")]).is_err(),
        "what is chosen is fetched"
    );
}

#[test]
fn names_that_orchestrators_set_for_a_service_are_nobodys_mistake() {
    let environment = [
        ("PORTCULLIS_SERVICE_HOST", "10.0.0.1"),
        ("PORTCULLIS_SERVICE_PORT", "8443"),
        ("PORTCULLIS_SERVICE_PORT_HTTPS", "8443"),
        ("PORTCULLIS_PORT", "tcp://10.0.0.1:8443"),
        ("PORTCULLIS_PORT_8443_TCP", "tcp://10.0.0.1:8443"),
        ("PORTCULLIS_PORT_8443_TCP_ADDR", "10.0.0.1"),
        ("PORTCULLIS_DB_SERVICE_HOST", "10.0.0.2"),
    ];
    assert!(load_with(WHOLE, &environment).is_ok());
}

#[test]
fn secrets_are_read_from_files_one_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    let (first, second) = ("a".repeat(40), "b".repeat(40));
    std::fs::write(&path, format!("{first}\r\n{second}\n")).unwrap();
    std::fs::write(folder.path().join("url"), "postgres://u:p@h/d\n").unwrap();
    std::fs::write(folder.path().join("one"), &first).unwrap();
    let path = path.to_str().unwrap();
    let url = folder.path().join("url");
    let environment = [
        ("PORTCULLIS_SESSION_SECRETS_FILE", path),
        ("PORTCULLIS_STORE_URL_FILE", url.to_str().unwrap()),
    ];
    let by_variable = load_with(WHOLE, &environment).unwrap();
    let by_key = load_with(&format!("{WHOLE}[session]\nsecrets = \"file:{path}\"\n"), &[]).unwrap();
    for loaded in [&by_variable, &by_key] {
        let lengths: Vec<_> = loaded
            .config
            .session
            .secrets
            .iter()
            .map(|secret| secret.expose_secret().len())
            .collect();
        assert_eq!(lengths, [40, 40]);
    }
    let Place::Postgres { url, .. } = &by_variable.config.store.place else {
        panic!("not Postgres")
    };
    assert_eq!(url.expose_secret(), "postgres://u:p@h/d");

    let file = folder.path().join("portcullis.toml");
    std::fs::write(&file, format!("{WHOLE}[session]\nsecrets = [\"file:one\"]\n")).unwrap();
    let loaded = config::load(Sources {
        text: Text::File(file),
        ..Sources::default()
    })
    .unwrap();
    assert_eq!(
        loaded.config.session.secrets[0].expose_secret(),
        first.as_bytes(),
        "relative to the file's folder"
    );
}

#[test]
fn a_quick_start_needs_an_application_and_a_folder() {
    let quick = |to: &str, listen: &str, anywhere| {
        config::quick(Quick {
            to: to.to_owned(),
            listen: listen.parse::<SocketAddr>().ok(),
            unsafe_listen_anywhere: anywhere,
            data_dir: PathBuf::from("/var/tmp/p"),
            environment: Environment::default(),
        })
    };
    let loaded = quick("http://127.0.0.1:3000", "127.0.0.1:0", false).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.data_dir, Path::new("/var/tmp/p"));
    assert_eq!(loaded.config.net.listeners[0].address.port(), 0);
    assert_eq!(loaded.config.net.listeners[1].address, "127.0.0.1:0".parse().unwrap());
    assert_eq!(loaded.config.proxy.routes[0].host, HostPattern::Any);
    let open = quick("http://127.0.0.1:3000", "192.0.2.7:8443", true).unwrap();
    let Some(TlsSettings::Local { hosts, .. }) = &open.config.net.listeners[0].tls else {
        panic!("no local certificate")
    };
    assert!(hosts.contains(&"192.0.2.7".to_owned()));
    let refused = quick("127.0.0.1:3000", "0.0.0.0:8443", false).unwrap_err();
    insta::assert_snapshot!(refused);
}

#[test]
fn a_data_directory_alone_has_a_store_and_nothing_that_can_be_reached() {
    let loaded = config::for_data_dir(Path::new("/var/tmp/p"), Environment::default()).unwrap();
    assert!(
        matches!(&loaded.config.store.place, Place::Sqlite { path } if path == Path::new("/var/tmp/p/portcullis.db"))
    );
    assert!(loaded.config.proxy.routes.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_told_from_one_that_is_wrong() {
    let text = Text::File(PathBuf::from("/nowhere/portcullis.toml"));
    let problems = config::load(Sources {
        text,
        ..Sources::default()
    })
    .unwrap_err();
    assert!(problems.could_not_read());
    insta::assert_snapshot!(problems);
    assert!(!load_with("workers = 0", &[]).unwrap_err().could_not_read());
}

#[test]
fn what_is_shown_has_every_value_its_origin_and_no_secret() {
    let text = format!(
        "{WHOLE}set_headers = {{ \"X-Key\" = \"hunter2\" }}\nidentity = {{ preset = \"radicale\" }}\n\
         [store]\nurl = \"postgres://u:hunter2@h/d\"\n[session]\nsecrets = [\"{SECRET}\", \"env:OLD\"]\n"
    );
    let environment = [
        ("PORTCULLIS_SESSION_LIFETIME", "3d"),
        ("OLD", "hunter2hunter2hunter2hunter2hunter2"),
    ];
    let loaded = config::load(sources(&text, &environment, vec![option("data_dir", "/option")])).unwrap();
    let shown = config::show(&loaded, true);
    for text in [&shown, &format!("{loaded:?}")] {
        assert!(!text.contains("hunter2") && !text.contains(SECRET), "{text}");
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let first = config::show(&load(WHOLE), false);
    let again = load(&first);
    assert_eq!(first, config::show(&again, false));
}

#[test]
fn the_shipped_reference_is_the_table_of_keys() {
    let shipped =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/portcullis.toml")).unwrap_or_default();
    let written = config::reference();
    let copy = concat!(env!("CARGO_TARGET_TMPDIR"), "/portcullis.toml");
    if shipped != written {
        std::fs::write(copy, &written).unwrap();
    }
    assert!(
        shipped == written,
        "config/portcullis.toml differs from the table of keys; what it says now is in {copy}"
    );
}

#[test]
fn the_shipped_reference_equals_the_defaults() {
    let reference = load(&config::reference());
    assert!(reference.warnings.is_empty(), "{}", reference.warnings);
    // What the reference must name and a file of its own would: the same listener, upstream and route.
    assert_eq!(config::show(&reference, false), config::show(&load(WHOLE), false));
}

#[test]
fn every_line_of_the_reference_that_is_commented_out_is_a_good_one() {
    let reference = config::reference();
    let mut tried = 0;
    for (index, line) in reference.lines().enumerate() {
        let Some(key) = line
            .strip_prefix("# ")
            .filter(|key| key.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')))
        else {
            continue;
        };
        let text: String = reference.lines().enumerate().fold(String::new(), |text, (at, line)| {
            let line = match line.strip_prefix("# [[") {
                // The table that the line belongs to, where that is a comment too.
                Some(header) if at < index => format!("[[{header}"),
                _ if at == index => key.to_owned(),
                _ => line.to_owned(),
            };
            text + &line + "\n"
        });
        let told = load_with(&text, &[])
            .err()
            .map(|problems| problems.to_json().to_string())
            .unwrap_or_default();
        for misfit in ["unknown key", "` must be", "is not a ", "not available"] {
            assert!(!told.contains(misfit), "{key}: {told}");
        }
        tried += 1;
    }
    assert!(tried >= 10, "only {tried} lines were tried");
}

#[test]
fn every_shipped_example_is_a_good_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("session.secret"), SECRET).unwrap();
    let environment = [
        (
            "DATABASE_URL",
            "postgresql://app:pass%40word@db.internal:5432/app?sslmode=require",
        ),
        ("SESSION_SECRET", SECRET),
        ("ADMIN_TOKEN", "fedcba9876543210fedcba9876543210"),
        ("GATEWAY_SECRET", "another 0123456789abcdef0123456789abcdef"),
        ("READER_URL", "postgres://reader@db.internal:5432/app"),
    ];
    let mut seen = 0;
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/examples")).unwrap() {
        let shipped = entry.unwrap().path();
        let path = folder.path().join(shipped.file_name().unwrap());
        std::fs::copy(&shipped, &path).unwrap();
        match config::load(Sources {
            text: Text::File(path),
            environment: Environment::from_pairs(environment),
            ..Sources::default()
        }) {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}: {}", shipped.display(), loaded.warnings),
            Err(problems) => panic!("{}: {problems}", shipped.display()),
        }
        seen += 1;
    }
    assert_eq!(seen, 14);
    assert!(load_with(config::init(), &[]).unwrap().warnings.is_empty());
}

#[test]
fn the_schema_knows_every_key_that_the_reference_has() {
    let schema: serde_json::Value = serde_json::from_str(&config::schema()).unwrap();
    let properties = &schema["properties"];
    let mut table = properties;
    let mut seen = 0;
    for line in config::reference().lines() {
        if let Some(name) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
            table = &properties[name]["items"]["properties"];
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = &properties[name]["properties"];
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(table[name].is_object(), "{name} is not in the schema");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} keys were looked up");
}

#[test]
fn the_closed_list_of_variables_is_known() {
    insta::assert_snapshot!(config::environment_names().join("\n"));
}
