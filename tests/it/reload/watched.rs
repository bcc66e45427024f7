use super::certificates::{make, shows, with_files};
use super::refused::OPEN;
use super::{Site, Words, eventually, text};
use crate::support::gateway::Gateway;
use crate::support::stage::HOST;
use std::os::unix::fs::symlink;
use std::path::Path;

async fn is_open(site: &Site) -> bool {
    let anonymous = ["Accept: text/html"];
    site.client().await.get(HOST, "/", &anonymous).await.status == 200
}

#[tokio::test]
async fn a_file_that_was_changed_is_read_without_being_told() {
    let (site, _) = Site::start().await;
    assert!(!is_open(&site).await);
    site.write(&Words {
        routes: OPEN,
        ..Words::default()
    });
    eventually("the open route", async || is_open(&site).await).await;
    assert!(
        site.gateway.log().contains("\"reload.cause\":\"file\""),
        "{}",
        site.gateway.log()
    );
}

#[tokio::test]
async fn a_faulty_change_is_told_once_and_mending_it_is_seen() {
    let (site, _) = Site::start().await;
    let faulty = text(&Words::default(), &site.app).replace("[life]", "[lief]");
    site.write_text(&faulty);
    eventually("the metric tells", async || !site.success().await).await;
    site.write_text(&text(
        &Words {
            routes: OPEN,
            ..Words::default()
        },
        &site.app,
    ));
    eventually("the mended file", async || is_open(&site).await).await;
    eventually("the metric tells", async || site.success().await).await;
    assert_eq!(site.gateway.log().matches("the configuration was refused").count(), 1);
}

/// As Kubernetes mounts a map: names link to a folder's, and the folder's link is swapped.
#[tokio::test]
async fn swapped_links_to_certificates_and_secrets_are_seen() {
    let (site, _) = Site::start().await;
    let folder = site.folder.path();
    let version = |name: &str| {
        let version = folder.join(name);
        std::fs::create_dir(&version).unwrap();
        let ca = make(&version, &[HOST]);
        std::fs::write(
            version.join("secret"),
            format!("0123456789abcdef0123456789abcdef-{name}"),
        )
        .unwrap();
        ca
    };
    let swap = |name: &str| {
        symlink(name, folder.join("..next")).unwrap();
        std::fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
    };
    let (first, second) = (version("one"), version("two"));
    swap("one");
    for name in ["site.pem", "site.key", "secret"] {
        symlink(Path::new("..data").join(name), folder.join(name)).unwrap();
    }
    let wanted = with_files(&site.app).replace(super::SECRET, "file:secret");
    site.write_text(&wanted);
    eventually("the first certificate", async || shows(&site, HOST, &first).await).await;
    let mut client = crate::support::client::Client::tls(site.gateway.address(0), HOST, &first).await;
    let cookie = client.sign_in(HOST, super::USER, super::PASSWORD).await;
    swap("two");
    eventually("the second certificate", async || shows(&site, HOST, &second).await).await;
    let cookie = format!("Cookie: {cookie}");
    assert_eq!(
        client.get(HOST, "/", &[&cookie]).await.status,
        302,
        "the secret was swapped with it"
    );
}

#[tokio::test]
async fn nothing_is_read_unasked_where_watching_is_off() {
    let (site, _) = Site::start().await;
    let off = "[life]\nwatch_files = false";
    site.write_text(&text(&Words::default(), &site.app).replace("[life]", off));
    assert!(site.reload().status.success());
    let open = text(
        &Words {
            routes: OPEN,
            ..Words::default()
        },
        &site.app,
    );
    site.write_text(&open.replace("[life]", off));
    // Another gateway that does watch has seen a later change by then.
    let (other, _) = Site::start().await;
    other.write(&Words {
        routes: OPEN,
        ..Words::default()
    });
    eventually("the other's open route", async || is_open(&other).await).await;
    assert!(!is_open(&site).await);
    assert!(site.reload().status.success());
    assert!(is_open(&site).await);
}

/// A pipe can be read once.
#[tokio::test]
async fn a_configuration_from_a_pipe_is_not_read_again() {
    let (site, _) = Site::start().await;
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("real.toml"), text(&Words::default(), &site.app)).unwrap();
    let mut shell = std::process::Command::new("bash");
    let program = crate::support::gateway::PROGRAM;
    let run = "mkfifo pipe.toml && { cat real.toml > pipe.toml & } && exec";
    shell.args(["-c", &format!("{run} {program} run --json --config pipe.toml")]);
    let gateway = Gateway::spawn(shell, &folder).unwrap();
    gateway.signal("HUP");
    gateway.wait_for_log("the configuration was refused; the one before runs on");
    assert_eq!(gateway.terminate().status.code(), Some(0));
}
