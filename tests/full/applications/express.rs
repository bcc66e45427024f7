//! express-session with connect-pg-simple, as four applications configure it.

use super::*;
use serde_json::json;

const SECRET: &str = "keyboard cat";
const HOUR: u64 = 3_600_000;
const PASSPORT: &str =
    "preset = \"express\"\nsecrets = [\"keyboard cat\"]\nuser = \"/passport/user\"\nlogout_paths = [\"/bye\"]";

/// Settings of the application, and lines of the source.
pub(super) type Variant = (Value, String);

pub(super) fn app(more: Value) -> Value {
    let mut all = json!({ "secret": SECRET });
    let (all_of, more) = (all.as_object_mut().expect("an object"), more);
    all_of.extend(more.as_object().expect("an object").clone());
    all
}

pub(super) fn source(more: &str) -> String {
    format!("preset = \"express\"\nsecrets = [\"a newer one\", \"{SECRET}\"]\nlogout_paths = [\"/bye\"]\n{more}")
}

/// A cookie for a week, touched by each request and never set again; Passport's user as a number.
pub(super) fn touched() -> Variant {
    let cookie = json!({ "maxAge": 168 * HOUR, "sameSite": "lax" });
    let settings = json!({ "resave": false, "passport": true, "numbers": true, "cookie": cookie });
    (app(settings), PASSPORT.to_owned())
}

/// A cookie of another name for https only, set again with each answer.
pub(super) fn rolling() -> Variant {
    let cookie = json!({ "maxAge": 12 * HOUR, "sameSite": "strict", "secure": true });
    let settings = json!({ "name": "nestmap.sid", "resave": false, "rolling": true, "proxy": true, "cookie": cookie });
    (app(settings), source("cookie = \"nestmap.sid\"\nuser = \"/userId\""))
}

/// A table in a schema of its own, whose rows are written by each request.
pub(super) fn resaved() -> Variant {
    let cookie = json!({ "maxAge": 24 * HOUR, "sameSite": "lax", "secure": false });
    let settings = json!({ "schema": "schema_system", "resave": true, "trust_proxy": true, "cookie": cookie });
    (
        app(settings),
        source("table = \"schema_system.session\"\nuser = \"/userId\""),
    )
}

/// A table of another name, ids of its own making, and a note in the session with each request.
pub(super) fn noted() -> Variant {
    let cookie = json!({ "maxAge": 72 * HOUR, "sameSite": "strict" });
    let settings = json!({
        "table": "sessions", "prefix": "aiq", "rolling": true, "notes": true, "ttl": 3 * 86_400, "cookie": cookie,
    });
    (app(settings), source("table = \"sessions\"\nuser = \"/userId\""))
}

pub(super) fn scene(zone: &str, (mut settings, source): Variant) -> Scene {
    let data = Data::in_zone(zone);
    settings["database"] = data.url.as_str().into();
    let app = Program::node("express.mjs", &settings);
    Scene::new(data, app, &source)
}

async fn in_every_zone(variant: Variant) {
    let scenes = ZONES.map(|zone| (zone, scene(zone, variant.clone())));
    let each = scenes.iter().map(async |(zone, scene)| {
        plays_together(scene).await;
        // A row that was written whole, and not touched since, says its end itself.
        let fresh = scene.signed_in("user=43").await;
        let (works, said) = scene.check(&variant.1, Some(&fresh.cookie()));
        assert!(works, "{zone}: {said}");
        assert!(
            said.contains(&format!("agree with the zone {zone} (UTC")),
            "{zone}: {said}"
        );
        assert!(said.contains("the cookie is that of crm:43"), "{zone}: {said}");
        assert!(!said.contains("FAULT") && !said.contains("warning"), "{zone}: {said}");
    });
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn sessions_that_are_touched_are_known_until_their_end_in_every_zone() {
    in_every_zone(touched()).await;
}

#[tokio::test]
async fn rolling_sessions_are_known_until_their_end_in_every_zone() {
    in_every_zone(rolling()).await;
}

#[tokio::test]
async fn sessions_in_a_schema_that_each_request_saves_are_known_until_their_end_in_every_zone() {
    in_every_zone(resaved()).await;
}

#[tokio::test]
async fn rolling_sessions_with_ids_and_notes_of_their_own_are_known_until_their_end_in_every_zone() {
    in_every_zone(noted()).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_source_is_found_in_words_that_name_the_fix() {
    let scene = scene("Asia/Kolkata", touched());
    let visitor = scene.signed_in("user=42").await;
    let cookie = visitor.cookie();
    let (works, said) = scene.check(PASSPORT, Some(&cookie));
    assert!(works, "{said}");
    let with = |line: &str| format!("{PASSPORT}\n{line}");
    let utc =
        "`zone` is UTC, but 1 rows show a clock at UTC+05:30; sessions would end at the wrong time: write zone = ";
    for (lines, says) in [
        (with("zone = \"utc\""), utc),
        (
            with("zone = \"Asia/Calcuta\""),
            "the database knows no time zone Asia/Calcuta; write an IANA name",
        ),
        (
            with("expiry = \"expires\""),
            "has no column \"expires\"; did you mean \"expire\"?",
        ),
        (with("key = \"id\""), "has no column \"id\"; did you mean \"sid\"?"),
        (
            with("payload = \"session\""),
            "has no column \"session\"; did you mean \"sess\"?",
        ),
        (
            with("table = \"schema_system.session\""),
            "write table = \"public.session\"",
        ),
        (
            PASSPORT.replace("/passport/user", "/userId"),
            "name the place of the user's key",
        ),
        (
            PASSPORT.replace(SECRET, "another"),
            "the cookie is signed with none of `secrets`",
        ),
        (PASSPORT.replace("\"express\"", "\"better-auth\""), "has no column"),
    ] {
        let (works, said) = scene.check(&lines, Some(&cookie));
        assert!(!works && said.contains(says), "{says}: {said}");
        let value = cookie.split_once('=').expect("a pair").1;
        assert!(!said.contains(value), "the cookie is shown: {said}");
    }
}

/// Ends that lie nearer than the zones differ: every row looks over, or none does.
#[tokio::test]
async fn a_wrong_zone_is_found_by_short_sessions_too() {
    for (zone, offset) in [("America/New_York", "UTC-0"), ("Asia/Kolkata", "UTC+05:30")] {
        let (mut settings, source) = touched();
        settings["cookie"]["maxAge"] = HOUR.into();
        let scene = scene(zone, (settings, source));
        drop(scene.signed_in("user=42").await);
        let (works, said) = scene.check(&format!("{PASSPORT}\nzone = \"utc\""), None);
        assert!(!works && said.contains(offset), "{zone}: {said}");
    }
}

#[tokio::test]
async fn a_zone_that_only_the_applications_role_has_is_found_and_can_be_named() {
    let data = Data::in_zone("America/New_York");
    let (mut settings, source) = touched();
    settings["database"] = data.url.as_str().into();
    settings["options"] = "-c TimeZone=Asia/Tokyo".into();
    let app = Program::node("express.mjs", &settings);
    let named = format!("{source}\nzone = \"Asia/Tokyo\"");
    let scene = Scene::new(data, app, &named);
    plays_together(&scene).await;
    drop(scene.signed_in("user=43").await);
    let (works, said) = scene.check(&source, None);
    assert!(
        !works && said.contains("the role of store_url has another zone than the application's connections"),
        "{said}"
    );
    let (works, said) = scene.check(&named, None);
    assert!(works, "{said}");
}
