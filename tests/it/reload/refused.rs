use super::{ROUTE, Site, TOKEN, Words, errors, eventually, text};
use crate::support::stage::HOST;

pub(super) const OPEN: &str = r#"
[[route]]
name = "app"
host = "app.example.test"
upstream = "app"
access = "public"
"#;

#[tokio::test]
async fn a_faulty_file_changes_nothing_and_says_where_and_what() {
    let (site, cookie) = Site::start().await;
    let faulty = text(
        &Words {
            routes: OPEN,
            ..Words::default()
        },
        &site.app,
    )
    .replace("\"public\"", "\"publik\"");
    let line = 1 + faulty.lines().position(|line| line.contains("publik")).unwrap();
    site.write_text(&faulty);
    let output = site.reload();
    assert_eq!(output.status.code(), Some(2));
    let place = format!("portcullis.toml:{line}");
    assert!(
        errors(&output).contains(&place) && errors(&output).contains("publik"),
        "{}",
        errors(&output)
    );
    assert!(
        site.success().await,
        "the command found it, so the gateway was not asked"
    );

    let answer = site.ask(TOKEN).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["type"], "urn:portcullis:invalid-configuration");
    assert_eq!(problem["problems"][0]["line"], line);
    assert!(!site.success().await);
    site.gateway.signal("HUP");
    site.gateway
        .wait_for_log("the configuration was refused; the one before runs on");
    assert!(site.gateway.log().contains(&place), "{}", site.gateway.log());

    let mut client = site.client().await;
    assert_eq!(client.get(HOST, "/", &["Accept: application/json"]).await.status, 401);
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
    site.applied(&Words::default());
    assert!(site.success().await);
}

#[tokio::test]
async fn a_file_that_is_gone_and_a_certificate_that_is_none_change_nothing() {
    let (site, cookie) = Site::start().await;
    let file = site.folder.path().join("portcullis.toml");
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    assert_eq!(site.reload().status.code(), Some(1));
    assert_eq!(site.ask(TOKEN).await.status, 409);
    assert!(!site.success().await);
    std::fs::write(site.folder.path().join("none.pem"), "nothing").unwrap();
    let local = "certificates = \"local\"";
    let none = "certificates = [{ chain = \"none.pem\", key = \"none.pem\" }]";
    let words = Words {
        routes: OPEN,
        ..Words::default()
    };
    site.write_text(&text(&words, &site.app).replace(local, none));
    let output = site.reload();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("none.pem"), "{}", errors(&output));
    assert!(!site.success().await);
    let mut client = site.client().await;
    assert_eq!(
        client.get(HOST, "/", &["Accept: application/json"]).await.status,
        401,
        "not even its routes"
    );
    assert_eq!(client.get(HOST, "/", &[&cookie]).await.status, 200);
}

#[tokio::test]
async fn what_needs_a_restart_is_named_until_it_comes_and_the_rest_is_applied() {
    let (site, _) = Site::start().await;
    // Not as many as there are by default, whatever the machine.
    let workers = std::thread::available_parallelism().map_or(1, usize::from) + 1;
    let top = format!("workers = {workers}\n[store]\ncall_timeout = \"1s\"\n[limits]\nconnections = 77\n");
    let words = Words {
        top: &top,
        routes: OPEN,
        ..Words::default()
    };
    let more = "[[listener]]\naddress = \"127.0.0.2:0\"\n[[upstream]]";
    let wanted = text(&words, &site.app).replacen("[[upstream]]", more, 1);
    for _ in 0..2 {
        site.write_text(&wanted);
        let output = site.reload();
        assert!(output.status.success(), "{}", errors(&output));
        let told = String::from_utf8(output.stdout).unwrap();
        let last = "These wait for a restart: workers, limits.connections, store.call_timeout, listener 127.0.0.2:0";
        assert_eq!(told.lines().last(), Some(last));
        assert_eq!(
            site.client().await.get(HOST, "/", &[]).await.status,
            200,
            "the route is open"
        );
    }
    assert_eq!(site.ask(TOKEN).await.json()["pending"].as_array().unwrap().len(), 4);
    assert!(site.gateway.log().contains("but for what needs a restart"));
    let told = site.applied(&Words {
        routes: ROUTE,
        ..Words::default()
    });
    assert_eq!(told, "The configuration is in effect.\n");
}

#[tokio::test]
async fn a_file_for_another_database_is_refused_whole() {
    let (site, _) = Site::start().await;
    for top in ["[store]\nurl = \"sqlite://other.db\"\n", "data_dir = \"elsewhere\"\n"] {
        site.write(&Words {
            top,
            routes: OPEN,
            ..Words::default()
        });
        let output = site.reload();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("nothing was applied"), "{}", errors(&output));
        let anonymous = ["Accept: application/json"];
        assert_eq!(site.client().await.get(HOST, "/", &anonymous).await.status, 401);
    }
    assert!(!site.folder.path().join("other.db").exists());
}

#[tokio::test]
async fn nobody_reloads_without_the_token_and_a_stopping_gateway_reloads_nothing() {
    let (site, _) = Site::with(&Words::default(), |_| super::Reply::text("hello")).await;
    assert_eq!(
        site.ask("0123456789abcdef-another-token-0123456789abcdef").await.status,
        401
    );
    let patient = text(&Words::default(), &site.app).replace("drain_delay = \"0s\"", "drain_delay = \"20s\"");
    site.write_text(&patient);
    assert_eq!(site.ask(TOKEN).await.status, 200);
    site.gateway.signal("TERM");
    eventually("no more reloads", async || site.ask(TOKEN).await.status == 409).await;
}
