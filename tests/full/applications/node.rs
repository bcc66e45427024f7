//! Other applications in Node: a table of one's own, better-auth, Auth.js.

use super::*;
use serde_json::json;

pub(super) const PLAIN: &str = r#"
preset = "plain-table"
zone = "utc"
users_table = "users"
email = "user.email"
logout_paths = ["/bye"]
"#;
pub(super) const BETTER_AUTH: &str =
    "preset = \"better-auth\"\nsecrets = [\"better-auth-secret-0123456789abcdef\"]\nlogout_paths = [\"/bye\"]";
pub(super) const AUTH_JS: &str = "preset = \"authjs\"\nlogout_paths = [\"/bye\"]";

#[tokio::test]
async fn a_table_of_ones_own_is_read_in_every_zone() {
    let scenes = ZONES.map(|zone| {
        let data = Data::in_zone(zone);
        let app = Program::node("plain.mjs", &json!({ "database": data.url }));
        (zone, Scene::new(data, app, PLAIN))
    });
    let each = scenes.iter().map(async |(zone, scene)| {
        plays_together(scene).await;
        drop(scene.signed_in("user=1").await);
        let (works, said) = scene.check(PLAIN, None);
        assert!(works && said.contains("live rows name a user"), "{zone}: {said}");
    });
    futures_util::future::join_all(each).await;
}

/// An application that believes that it is at `origin`, in a database of a zone.
fn scene(file: &str, source: &str, origin: &str, lives: Option<Duration>) -> Scene {
    let lives = lives.map(|lives| u64::try_from(lives.as_millis()).expect("a short time"));
    scene_with(file, source, origin, &json!({ "lives": lives }))
}

/// The same that writes each session anew whenever it is read.
pub(super) fn busy_scene(file: &str, source: &str) -> Scene {
    scene_with(file, source, "https", &json!({ "busy": true }))
}

fn scene_with(file: &str, source: &str, origin: &str, more: &Value) -> Scene {
    let data = Data::in_zone("Asia/Kolkata");
    let mut settings = json!({
        "database": data.url,
        "secret": "better-auth-secret-0123456789abcdef",
        "origin": format!("{origin}://{HOST}"),
    });
    let members = settings.as_object_mut().expect("an object");
    members.extend(more.as_object().expect("an object").clone());
    let app = Program::node(file, &settings);
    Scene::new(data, app, source)
}

async fn plays_with_both_names(file: &str, source: &str) {
    let [secure, plain] = ["https", "http"].map(|origin| scene(file, source, origin, None));
    let briefly = scene(file, source, "https", Some(SHORT));
    let with_name = async |scene: &Scene, origin: &str| {
        signs_in_and_out(scene).await;
        let fresh = scene.signed_in("user=1").await;
        let secure = fresh.cookies.keys().any(|name| name.starts_with("__Secure-"));
        assert_eq!(secure, origin == "https", "{:?}", fresh.cookies.keys());
        let session = |(name, _): &(&String, &String)| name.contains("session");
        let (name, value) = fresh.cookies.iter().find(session).expect("a session's cookie");
        let (works, said) = scene.check(source, Some(&format!("{name}={value}")));
        assert!(works && said.contains("the cookie is that of crm:"), "{said}");
    };
    let short = ends_in_time(&briefly, "user=1");
    tokio::join!(with_name(&secure, "https"), with_name(&plain, "http"), short);
}

#[tokio::test]
async fn better_auth_is_understood_with_and_without_https() {
    plays_with_both_names("better_auth.mjs", BETTER_AUTH).await;
}

#[tokio::test]
async fn auth_js_is_understood_with_and_without_https() {
    plays_with_both_names("authjs.mjs", AUTH_JS).await;
}
