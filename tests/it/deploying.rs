//! What deploy/ holds: names, paths and commands in it are those of this program. No engine for containers and no service
//! manager is needed; `tests/full/cluster.rs` starts the same deployment without them.

use crate::support::gateway::{PROGRAM, address_of};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Lines that say something.
fn lines(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// The names in `${NAME…}` that have no default.
fn wanted(text: &str) -> BTreeSet<String> {
    let parts = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    parts
        .map(|(name, _)| name)
        .filter(|name| !name.contains(":-"))
        .map(str::to_owned)
        .collect()
}

/// Words of `text` that look like one of our variables.
fn variables(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    let words = text.split(|letter| !is_part(letter));
    words
        .filter(|word| word.starts_with("PORTCULLIS_") && word.len() > "PORTCULLIS_".len())
        .map(str::to_owned)
        .collect()
}

fn program(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(args).envs(env.iter().copied()).stdin(Stdio::null());
    command.output().expect("the program runs")
}

/// Everything that `text` has the program do is something that it does.
fn commands_are_known(text: &str) -> usize {
    let mut known = 0;
    for rest in text.split("/usr/bin/portcullis ").skip(1) {
        let words = rest.split(char::is_whitespace);
        let command: Vec<_> = words
            .take_while(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
            .take(2)
            .collect();
        let most = if matches!(command.first(), Some(&"user")) { 2 } else { 1 };
        let mut args: Vec<_> = command.into_iter().take(most).collect();
        args.push("--help");
        let said = program(&args, &[]);
        assert!(
            said.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
        known += 1;
    }
    known
}

#[test]
fn variables_that_deploy_sets_are_variables_of_the_program() {
    let known: BTreeSet<_> = portcullis::config::environment_names().into_iter().collect();
    let mut files = vec![root().join("deploy")];
    let mut seen = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a folder");
            files.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for name in variables(&text) {
                assert!(known.contains(name.as_str()), "{} sets {name}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 12, "only {seen} were found");
}

#[test]
fn the_image_runs_this_program_as_nobody() {
    let text = read("deploy/Dockerfile");
    let all = lines(&text);
    let rust = all
        .iter()
        .find_map(|line| line.strip_prefix("FROM rust:"))
        .expect("a builder");
    let manifest = read("Cargo.toml");
    let needed = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = \""))
        .expect("a version");
    assert!(
        rust.starts_with(needed.trim_end_matches('"')),
        "{rust} is not Rust {needed}"
    );
    let last = all.iter().rposition(|line| line.starts_with("FROM ")).expect("a stage");
    let image = &all[last..];
    let entry = |name: &str| {
        let found = image.iter().find_map(|line| line.strip_prefix(name));
        found
            .unwrap_or_else(|| panic!("the image says no {name}"))
            .trim()
            .to_owned()
    };
    let user = entry("USER");
    let id: u32 = user
        .split(':')
        .next()
        .and_then(|id| id.parse().ok())
        .expect("the user is a number");
    assert!(id > 0, "{user}");
    assert!(text.contains(&format!("install -d -o {id} -g {id} -m 0700 /image{}", entry("VOLUME"))));
    let started: Vec<String> = serde_json::from_str(&entry("ENTRYPOINT")).expect("a list");
    assert!(
        text.contains(&format!("target/release/portcullis /image{}", started[0])),
        "{started:?}"
    );
    let command: Vec<String> = serde_json::from_str(&entry("CMD")).expect("a list");
    assert_eq!(command, ["run"]);
    assert!(text.contains("ENV PORTCULLIS_CONFIG="));
}

#[test]
fn the_image_is_asked_for_its_health_by_this_program() {
    let text = read("deploy/Dockerfile");
    let health = text
        .lines()
        .find_map(|line| line.split_once(" CMD ["))
        .expect("a health check");
    assert_eq!(health.1, r#""/usr/bin/portcullis", "healthcheck"]"#);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("portcullis.toml");
    std::fs::write(
        &config,
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:1\"\n",
    )
    .expect("a file");
    // It names no file: the variable of the image does.
    let asked = program(
        &["healthcheck"],
        &[("PORTCULLIS_CONFIG", config.to_str().expect("text"))],
    );
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(said.contains("nothing answers on 127.0.0.1:1"), "{said}");
}

#[test]
fn the_image_is_built_from_everything_but_secrets() {
    // Every target that the manifest names must be there.
    let kept_out = read(".dockerignore");
    for needed in ["benches", "tests", "src", "migrations", "Cargo"] {
        assert!(
            !lines(&kept_out).iter().any(|line| line.trim_end_matches('/') == needed),
            "{needed}"
        );
    }
    for secret in ["certs/*", "data", "deploy/compose/secrets", "**/*.key"] {
        assert!(
            lines(&kept_out).contains(&secret),
            "{secret} would be sent to the builder"
        );
    }
}

#[test]
fn the_compose_file_names_what_is_there() {
    let text = read("deploy/compose/compose.yaml");
    let folder = root().join("deploy/compose");
    let mounted: Vec<_> = text
        .split('"')
        .filter(|part| part.starts_with("../") && part.contains(":/"))
        .filter_map(|part| part.split(':').next())
        .collect();
    assert_eq!(mounted.len(), 3, "{mounted:?}");
    for path in mounted {
        assert!(folder.join(path).is_file(), "{path}");
    }
    assert!(folder.join("../..").join("deploy/Dockerfile").is_file() && text.contains("dockerfile: deploy/Dockerfile"));
    let config = read("deploy/cluster/portcullis.toml");
    for name in wanted(&read("deploy/cluster/haproxy.cfg")).union(&wanted(&config)) {
        assert!(text.contains(&format!("{name}: ")), "compose.yaml does not set {name}");
        let script = read("deploy/local-cluster");
        assert!(
            script.contains(&format!("{name}=")),
            "local-cluster does not set {name}"
        );
    }
    assert!(commands_are_known(&text) >= 1);
    for hardening in ["read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"] {
        assert_eq!(
            text.matches(hardening).count(),
            3,
            "{hardening}: gateways, applications, balancer"
        );
    }
}

/// What make-secrets makes, in a folder of its own.
fn secrets() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let secrets = folder.path().join("secrets");
    for _ in 0..2 {
        let mut script = Command::new(root().join("deploy/cluster/make-secrets"));
        let ran = script.arg(&secrets).arg("db.internal:5432").output().expect("bash");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    (folder, secrets)
}

#[test]
fn secrets_are_made_once_and_are_those_that_the_compose_file_names() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, secrets) = secrets();
    let access = |path: &Path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(access(&secrets), 0o700);
    let made: BTreeSet<String> = std::fs::read_dir(&secrets)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let text = read("deploy/compose/compose.yaml");
    let named: BTreeSet<String> = text
        .split("{ file: secrets/")
        .skip(1)
        .filter_map(|rest| rest.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(named.len(), 6);
    let more: Vec<_> = made.difference(&named).map(String::as_str).collect();
    assert_eq!(more, ["ca.pem"], "the authority's key is not kept");
    assert!(named.is_subset(&made), "{named:?} {made:?}");
    let url = std::fs::read_to_string(secrets.join("store_url")).expect("a file");
    assert!(url.contains("@db.internal:5432/"), "another run changed it: {url}");
}

#[test]
fn the_configuration_of_the_cluster_is_valid_where_it_is_started() {
    let (folder, secrets) = secrets();
    let file = root().join("deploy/cluster/portcullis.toml");
    let path = |name: &str| secrets.join(name).to_str().expect("text").to_owned();
    let (url, session, admin) = (path("store_url"), path("session_secrets"), path("admin_token"));
    let env = [
        ("BALANCER", "10.77.0.10/32"),
        ("CERTIFICATES", secrets.to_str().expect("text")),
        ("DATA_DIR", folder.path().to_str().expect("text")),
        ("PORTCULLIS_STORE_URL_FILE", url.as_str()),
        ("PORTCULLIS_SESSION_SECRETS_FILE", session.as_str()),
        ("PORTCULLIS_ADMIN_TOKEN_FILE", admin.as_str()),
        ("PORTCULLIS_ADMIN_ADDRESS", "0.0.0.0:9090"),
        ("PORTCULLIS_ADMIN_UNSAFE_LISTEN_ANYWHERE", "true"),
    ];
    let config = file.to_str().expect("text");
    let checked = program(&["check", "--config", config], &env);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
    let strange = program(&["check", "--config", config], &env[1..]);
    assert_eq!(
        strange.status.code(),
        Some(2),
        "an environment without BALANCER is a fault"
    );
    // The balancer must notice the drain before the listeners close.
    let text = read("deploy/cluster/haproxy.cfg");
    assert!(
        text.contains("inter 1s fall 2") && read("deploy/cluster/portcullis.toml").contains("drain_delay = \"3s\"")
    );
    assert_eq!(address_of("https://127.0.0.1:8443/").port(), 8443);
}

#[test]
fn the_unit_runs_this_program_and_nothing_else() {
    let unit = read("deploy/systemd/portcullis.service");
    assert_eq!(commands_are_known(&unit), 3);
    for (variable, credential) in [
        ("PORTCULLIS_SESSION_SECRETS_FILE", "session_secrets"),
        ("PORTCULLIS_ADMIN_TOKEN_FILE", "admin_token"),
        ("PORTCULLIS_STORE_URL_FILE", "store_url"),
    ] {
        assert!(
            unit.contains(&format!("Environment={variable}=%d/{credential}\n")),
            "{variable}"
        );
        assert!(unit.contains(&format!("LoadCredential={credential}:/etc/portcullis/{credential}\n")));
    }
    for hardening in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=\n",
        "User=portcullis",
        "WatchdogSec=",
        "LimitNOFILE=",
    ] {
        assert!(unit.contains(hardening), "{hardening}");
    }
    let ports = read("deploy/systemd/bind-low-ports.conf");
    assert!(ports.contains("CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n"));
    let Ok(there) = Command::new("systemd-analyze").arg("--version").output() else {
        return eprintln!("NOT CHECKED by systemd-analyze, which is not installed");
    };
    assert!(there.status.success());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("portcullis.service");
    let here = unit.replace("/usr/bin/portcullis", PROGRAM);
    std::fs::write(&file, here).expect("a file");
    let socket = folder.path().join("portcullis.socket");
    std::fs::write(&socket, read("deploy/systemd/portcullis.socket")).expect("a file");
    let verified = Command::new("systemd-analyze")
        .arg("verify")
        .args([&file, &socket])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    let ours: Vec<_> = said.lines().filter(|line| line.contains("portcullis")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{said}");
    let mut rate = Command::new("systemd-analyze");
    let rated = rate
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(&file)
        .output();
    let rated = rated.expect("it runs");
    assert!(rated.status.success(), "{}", String::from_utf8_lossy(&rated.stdout));
}
