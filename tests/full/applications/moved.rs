//! An application of express goes over to the gateway's log-in, step by step as docs/moving-over.md has them.

use super::*;
use serde_json::json;
use std::sync::Arc;

const SOURCE: &str = "preset = \"express\"\nsecrets = [\"keyboard cat\"]\nuser = \"/passport/user\"\n\
                      logout_paths = [\"/bye\"]\nuser_map = { \"1\" = \"ada\", \"2\" = \"bob\" }";
const PASSWORD: &str = "correct horse battery staple";

/// What the import says.
fn import(gateway: &Gateway, more: &[&str]) -> Value {
    let mut args = vec!["session", "import", "--source", "crm", "--json"];
    args.extend(more);
    let output = gateway.command(&args, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).expect("a report")
}

fn start(folder: &Arc<tempfile::TempDir>, config: &str) -> Gateway {
    Gateway::try_start_in(folder, config, &[]).unwrap_or_else(|end| panic!("{:?}:\n{}", end.code, end.stderr))
}

async fn moves_over(zone: &str) {
    let data = Data::in_zone(zone);
    let mut settings = json!({
        "secret": "keyboard cat", "resave": false, "passport": true, "numbers": true, "database": data.url,
        "cookie": { "maxAge": 3_600_000, "sameSite": "lax" },
    });
    let app = Program::node("express.mjs", &settings);
    let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let gateway = start(&folder, &config(&data, &app, SOURCE));
    for name in ["ada", "bob"] {
        gateway.add_user(name, PASSWORD, &[]);
    }
    let scene = Scene { gateway, data, app };
    let (ada, bob, mut leaves) = count_together(&scene).await;
    assert_eq!(import(&scene.gateway, &["--dry-run"])["copied"], 3);
    assert_eq!(import(&scene.gateway, &[])["copied"], 3);
    // The application still signs people out and in by itself.
    assert_eq!(leaves.ask("POST", "/bye").await.status, 204);
    let late = scene.signed_in("user=2").await;
    let cookies: Vec<_> = [&ada, &bob, &late, &leaves]
        .map(|visitor| visitor.cookies.clone())
        .into();
    let Scene { gateway, data, app: _ } = scene;
    drop(gateway);

    // Behind the gateway's log-in it has no sessions any more, and believes the header.
    settings["behind"] = true.into();
    let app = Program::node("express.mjs", &settings);
    let text = config(&data, &app, &format!("{SOURCE}\nmoved = true")).replace("access = \"optional\"\n", "");
    let gateway = start(&folder, &text);
    let report = import(&gateway, &["--end-missing"]);
    assert_eq!(
        [&report["copied"], &report["kept"], &report["ended"]],
        [1, 2, 1],
        "{report}"
    );
    data.sql("DROP TABLE session");
    let scene = Scene { gateway, data, app };
    let visitor = |at: usize| {
        let mut visitor = scene.visitor();
        visitor.cookies.clone_from(&cookies[at]);
        visitor
    };
    let (mut ada, mut bob, mut late, mut left) = (visitor(0), visitor(1), visitor(2), visitor(3));
    for (who, name) in [(&mut ada, "ada"), (&mut bob, "bob"), (&mut late, "bob")] {
        assert_eq!(who.told().await, (None, Some(name.to_owned())));
    }
    // Who had signed out is not signed in by a copy.
    assert_eq!(left.ask("GET", "/").await.status, 401);
    log_out_and_log_in(&scene, &mut bob).await;
    assert_eq!(late.told().await, (None, Some("bob".to_owned())));
}

/// Both kinds of session count: by the application's own log-in and by ours they are one person.
async fn count_together(scene: &Scene) -> (Visitor<'_>, Visitor<'_>, Visitor<'_>) {
    let mut ada = scene.signed_in("user=1").await;
    let mut bob = scene.signed_in("user=2").await;
    let leaves = scene.signed_in("user=2").await;
    let said = |user: &str, told: &str| (Some(user.to_owned()), Some(told.to_owned()));
    assert_eq!(ada.told().await, said("1", "ada"));
    assert_eq!(bob.told().await, said("2", "bob"));
    let mut client = Client::tls(scene.gateway.address(0), HOST, &scene.gateway.ca()).await;
    let native = client.sign_in(HOST, "ada", PASSWORD).await;
    let (name, value) = native.split_once('=').expect("a pair");
    let mut both = scene.visitor();
    both.cookies = ada.cookies.clone();
    both.cookies.insert(name.to_owned(), value.to_owned());
    assert_eq!(both.told().await, said("1", "ada"));
    (ada, bob, leaves)
}

/// A log-out is one, and the log-in is the gateway's.
async fn log_out_and_log_in(scene: &Scene, bob: &mut Visitor<'_>) {
    assert_eq!(bob.ask("POST", "/.portcullis/logout").await.status, 204);
    assert_eq!(bob.ask("GET", "/").await.status, 401);
    let mut client = Client::tls(scene.gateway.address(0), HOST, &scene.gateway.ca()).await;
    let native = client.sign_in(HOST, "bob", PASSWORD).await;
    let (name, value) = native.split_once('=').expect("a pair");
    bob.cookies.insert(name.to_owned(), value.to_owned());
    assert_eq!(bob.told().await, (None, Some("bob".to_owned())));
}

#[tokio::test]
async fn an_express_application_moves_over_and_signs_nobody_out() {
    tokio::join!(moves_over("Etc/UTC"), moves_over("America/New_York"));
}
