//! No secret is anywhere but where it belongs, whatever is done with it; and what browsers are told for their safety is
//! told where it helps and nowhere else.

mod whole_run;
mod witness;

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::stage::{self, HOST, PASSWORD, ROUTES, USER};
use crate::support::upstream::Upstream;
use std::fs;

#[test]
fn the_start_tells_what_matters_and_no_password() {
    let app = Upstream::hello();
    let config = stage::config(
        "[store]\nurl = \"postgres://gatekeeper:hidden-word@127.0.0.1:1/crm\"\nschema = \"doors\"\n\
         [session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n\
         [trust]\nproxies = [\"10.0.0.0/8\"]\n",
        ROUTES,
        &app.url(),
    );
    let gateway = Gateway::start(&config);
    gateway.wait_for_log("portcullis is starting");
    let log = gateway.log();
    let line = log
        .lines()
        .find(|line| line.contains("portcullis is starting"))
        .expect("the line");
    let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(
        line["store.place"],
        "postgres 127.0.0.1:1/crm as gatekeeper, schema doors"
    );
    assert_eq!(line["trust.proxies"], "10.0.0.0/8");
    assert_eq!(line["cookie.name"], "__Host-portcullis");
    assert_eq!(line["cookie.secure"], "always");
    assert_eq!(line["cookie.same_site"], "lax");
    let listeners = line["listeners"].as_str().expect("text");
    assert!(
        listeners.contains(gateway.url(0)) && listeners.contains(gateway.url(1)),
        "{listeners}"
    );
    assert_eq!(line["admin"], gateway.ready()["admin_url"]);
    assert!(!log.contains("hidden-word"), "{log}");
}

#[tokio::test]
async fn hsts_is_said_to_names_and_never_to_addresses_or_this_machine() {
    let app = Upstream::hello();
    let names = [HOST, "localhost", "127.0.0.1"].map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain, made.cert.pem()).expect("a file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let config = stage::config(
        "",
        "[[route]]\nname = \"all\"\nupstream = \"app\"\naccess = \"public\"\n",
        &app.url(),
    )
    .replace(
        "certificates = \"local\"",
        &format!("hsts = \"365d\"\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]"),
    );
    let gateway = Gateway::start(&config);
    for (host, expected) in [
        (HOST, Some("max-age=31536000")),
        ("localhost", None),
        ("127.0.0.1", None),
    ] {
        let mut client = Client::tls(gateway.address(0), host, &made.cert.pem()).await;
        for target in ["/", "/.portcullis/login", "/a/../b"] {
            let answer = client.get(host, target, &[]).await;
            assert_eq!(answer.value("strict-transport-security"), expected, "{host} {target}");
            if answer.status == 400 {
                break;
            }
        }
    }
    let plain = Client::plain(gateway.address(1)).await.get(HOST, "/", &[]).await;
    assert_eq!(plain.value("strict-transport-security"), None, "RFC 6797, 7.2");
}

/// The attributes of the session cookie that a log-in gives, sorted; an error is the status.
async fn cookie_of(gateway: &Gateway, listener: usize, host: &str, lines: &[&str]) -> Result<Vec<String>, u16> {
    let mut client = if listener == 0 {
        Client::tls(gateway.address(0), host, &gateway.ca()).await
    } else {
        Client::plain(gateway.address(listener)).await
    };
    let mut all = vec!["Content-Type: application/json", "Accept: application/json"];
    all.extend(lines);
    let body = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
    let answer = client
        .request("POST", host, "/.portcullis/login", &all, body.as_bytes())
        .await;
    if answer.status != 200 {
        return Err(answer.status);
    }
    let cookies = answer.values("set-cookie");
    let line = cookies
        .iter()
        .find(|line| line.contains("portcullis="))
        .expect("a session cookie");
    let mut parts: Vec<String> = line
        .split("; ")
        .skip(1)
        .filter(|part| !part.starts_with("Max-Age="))
        .map(str::to_owned)
        .collect();
    parts.sort();
    Ok(parts)
}

#[tokio::test]
async fn a_cookie_is_secure_wherever_the_browser_came_by_https() {
    const SECURE: &[&str] = &["HttpOnly", "Path=/", "SameSite=Lax", "Secure"];
    const PLAIN: &[&str] = &["HttpOnly", "Path=/", "SameSite=Lax"];
    let app = Upstream::hello();
    let auto = "[session]\nsecure = \"auto\"\ncookie = \"portcullis\"\n";
    let trusted = "[trust]\nproxies = [\"127.0.0.0/8\"]\n";
    let by_https = ["X-Forwarded-Proto: https", "X-Forwarded-For: 203.0.113.7"];
    let by_http = ["X-Forwarded-Proto: http", "X-Forwarded-For: 203.0.113.7"];
    for (top, cases) in [
        (
            auto.to_owned(),
            vec![
                (0, &[][..], Ok(SECURE)),
                (1, &[][..], Ok(PLAIN)),
                (1, &by_https[..], Ok(PLAIN)),
            ],
        ),
        (
            format!("{auto}{trusted}"),
            vec![
                (0, &[][..], Ok(SECURE)),
                (1, &by_https[..], Ok(SECURE)),
                (1, &by_http[..], Err(403)),
            ],
        ),
        (
            trusted.to_owned(),
            vec![(1, &by_https[..], Ok(SECURE)), (1, &by_http[..], Err(403))],
        ),
        (
            format!("{auto}{trusted}[portal]\nunsafe_plain_login = true\n"),
            vec![(1, &by_https[..], Ok(SECURE)), (1, &by_http[..], Ok(PLAIN))],
        ),
    ] {
        let gateway = Gateway::start(&stage::config(&top, ROUTES, &app.url()));
        gateway.add_user(USER, PASSWORD, &[]);
        for (listener, lines, expected) in cases {
            let found = cookie_of(&gateway, listener, HOST, lines).await;
            let expected =
                expected.map(|parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{top}listener {listener} {lines:?}");
        }
    }
}
