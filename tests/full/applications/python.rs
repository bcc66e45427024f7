//! Applications in Python: Django, Flask-Session with `SQLAlchemy`.

use super::*;
use serde_json::json;

const DJANGO_SECRET: &str = "django-insecure-0123456789abcdefghijklmnopqrstuvwxyz0123456789";
const DJANGO: &str = r#"
preset = "django"
secrets = ["django-insecure-0123456789abcdefghijklmnopqrstuvwxyz0123456789"]
email = "user.email"
logout_paths = ["/bye"]
"#;
const FLASK: &str = "preset = \"flask-session\"\nuser = \"/_user_id\"\nlogout_paths = [\"/bye\"]";

fn django(zone: &str, use_tz: bool) -> Scene {
    django_with(zone, use_tz, "")
}

pub(super) fn django_with(zone: &str, use_tz: bool, more: &str) -> Scene {
    let data = Data::in_zone(zone);
    let name = data.url.rsplit('/').next().expect("a name");
    let database = json!({
        "HOST": "127.0.0.1",
        "PORT": Postgres::shared().port(),
        "USER": crate::support::postgres::USER,
        "NAME": name,
    });
    let settings = json!({
        "secret": DJANGO_SECRET, "database": database, "use_tz": use_tz, "users": ["ada", "eve", "joe"],
    });
    let app = Program::python("django_app.py", &settings);
    Scene::new(data, app, &format!("{DJANGO}\n{more}"))
}

#[tokio::test]
async fn django_is_understood_with_and_without_zones() {
    let scenes = [django("America/New_York", true), django("Asia/Kolkata", false)];
    let each = scenes.iter().map(async |scene| {
        plays_together(scene).await;
        let fresh = scene.signed_in("user=3").await;
        let (works, said) = scene.check(DJANGO, Some(&fresh.cookie()));
        assert!(works && said.contains("the cookie is that of crm:3"), "{said}");
        let (works, said) = scene.check(&DJANGO.replace(DJANGO_SECRET, "another"), None);
        assert!(!works && said.contains("secrets"), "{said}");
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn a_user_of_djangos_whose_password_is_changed_or_who_is_locked_is_nobody_here_too() {
    let scene = django("Etc/UTC", true);
    let mut ada = scene.signed_in("user=1").await;
    let mut eve = scene.signed_in("user=2").await;
    let mut joe = scene.signed_in("user=3").await;
    for visitor in [&mut ada, &mut eve, &mut joe] {
        visitor.known().await;
    }
    assert_eq!(joe.ask("POST", "/change-password?user=1").await.status, 204);
    scene.data.sql("UPDATE auth_user SET is_active = false WHERE id = 2");
    let changed = Instant::now();
    for visitor in [&mut ada, &mut eve] {
        while visitor.told().await != (None, None) {
            assert!(changed.elapsed() < BOUND);
            pause();
        }
    }
    joe.known().await;
}

fn flask(zone: &str, format: &str, lives: Option<Duration>) -> Scene {
    flask_with(zone, format, lives, "")
}

pub(super) fn flask_with(zone: &str, format: &str, lives: Option<Duration>, more: &str) -> Scene {
    let data = Data::in_zone(zone);
    let mut settings = json!({
        "database": data.url.replace("postgres://", "postgresql+psycopg://"), "format": format,
    });
    if let Some(lives) = lives {
        settings["lives"] = u64::try_from(lives.as_millis()).expect("a short time").into();
    }
    let source = match format {
        "json" => format!("{FLASK}\npayload_format = \"json\"\n{more}"),
        _ => format!("{FLASK}\n{more}"),
    };
    let app = Program::python("flask_app.py", &settings);
    Scene::new(data, app, &source)
}

#[tokio::test]
async fn flask_sessions_are_understood_as_message_pack_and_as_json() {
    let scenes = [("America/New_York", "msgpack"), ("Asia/Kolkata", "json")]
        .map(|(zone, format)| [flask(zone, format, None), flask(zone, format, Some(SHORT))]);
    let each = scenes.iter().map(async |[long, short]| {
        signs_in_and_out(long).await;
        ends_in_time(short, "user=1").await;
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn a_payload_in_another_format_than_configured_is_found() {
    let scene = flask("Etc/UTC", "json", None);
    let fresh = scene.signed_in("user=1").await;
    let (works, said) = scene.check(FLASK, Some(&fresh.cookie()));
    assert!(
        !works && said.contains("Are `preset`, `payload_format` and `secrets`"),
        "{said}"
    );
}
