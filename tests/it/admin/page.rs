//! The page that a link opens, as a browser without scripts uses it.

use super::{Office, SECRETS, TOKEN, refused};
use crate::support::client::{Client, Response};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::stage::{self, HOST, ROUTES};
use crate::support::upstream::Upstream;
use serde_json::json;

/// The link that the command prints: its path and query.
fn link(gateway: &Gateway) -> String {
    let admin = format!("http://{}", gateway.admin());
    let output = gateway.command(&["admin", "login-link", "--admin-url", &admin, "--json"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let url = said["url"].as_str().expect("a URL").to_owned();
    assert_eq!(said["seconds"], 300);
    url.strip_prefix(&admin)
        .expect("an address of the admin listener")
        .to_owned()
}

/// A browser at the admin listener.
struct Browser<'a> {
    gateway: &'a Gateway,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        Self {
            gateway,
            cookie: String::new(),
        }
    }

    async fn send(&mut self, method: &str, target: &str, lines: &[&str], form: &str) -> Response {
        let mut all = lines.to_vec();
        let cookie = format!("Cookie: {}", self.cookie);
        if !self.cookie.is_empty() {
            all.push(&cookie);
        }
        if method == "POST" {
            all.push("Content-Type: application/x-www-form-urlencoded");
        }
        let mut client = Client::plain(self.gateway.admin()).await;
        let answer = client.request(method, "localhost", target, &all, form.as_bytes()).await;
        if let Some(cookie) = answer.cookie("portcullis-admin") {
            self.cookie = cookie;
        }
        answer
    }

    async fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, &["Sec-Fetch-Site: same-origin"], "").await
    }

    async fn post(&mut self, target: &str, form: &str) -> Response {
        self.send("POST", target, &["Sec-Fetch-Site: same-origin"], form).await
    }

    /// Opens the page by a fresh link; the token of its forms.
    async fn open(&mut self) -> String {
        let link = link(self.gateway);
        let (_, query) = link.split_once('?').expect("a query");
        let opened = self.post("/open", query).await;
        assert_eq!(
            (opened.status, opened.value("location")),
            (303, Some("/")),
            "{}",
            opened.text()
        );
        token(&self.get("/").await)
    }
}

fn token(page: &Response) -> String {
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    let (_, rest) = text.split_once("name=\"csrf\" value=\"").expect("a form");
    rest.split('"').next().expect("its token").to_owned()
}

#[tokio::test]
async fn a_link_opens_the_page_once_and_looking_at_it_does_not_burn_it() {
    for office in Office::on_both_engines() {
        let path = link(&office.gateway);
        let mut browser = Browser::new(&office.gateway);
        for _ in 0..2 {
            let page = browser.get(&path).await;
            assert_eq!(page.status, 200);
            let csp = page.value("content-security-policy").expect("a policy").to_owned();
            assert!(
                csp.starts_with("default-src 'none'; style-src 'sha256-") && csp.contains("form-action 'self'"),
                "{csp}"
            );
            assert_eq!(page.value("x-frame-options"), Some("DENY"));
            assert!(page.text().contains("type=\"submit\"") && !page.text().contains("<script"));
        }
        assert_eq!(browser.get("/").await.status, 401, "nobody is let in by looking");
        let (_, query) = path.split_once('?').expect("a query");
        let opened = browser.post("/open", query).await;
        assert_eq!(opened.status, 303);
        let line = opened.value("set-cookie").expect("a cookie");
        assert!(
            line.ends_with("; Path=/; Max-Age=28800; HttpOnly; SameSite=Strict"),
            "{line}"
        );
        let page = browser.get("/").await;
        assert!(
            page.text().contains("Overview") && page.text().contains("admin_signed_in"),
            "{}",
            page.text()
        );
        // Used up, for this browser and every other.
        for mut other in [
            Browser::new(&office.gateway),
            Browser {
                gateway: &office.gateway,
                cookie: browser.cookie.clone(),
            },
        ] {
            let again = other.post("/open", query).await;
            assert_eq!(again.status, 403);
            assert!(again.text().contains("portcullis admin login-link"), "{}", again.text());
        }
        let events = office.json("/api/audit").await;
        let told = events.to_string();
        for kind in ["admin_link_made", "admin_signed_in", "admin_refused"] {
            assert!(told.contains(kind), "{told}");
        }
        let secret = query.strip_prefix("link=").expect("a link");
        let (_, pass) = browser.cookie.split_once('=').expect("a pair");
        let log = office.gateway.log();
        for hidden in [secret, pass] {
            assert!(!told.contains(hidden) && !log.contains(hidden));
        }
    }
}

#[tokio::test]
async fn a_link_is_over_after_five_minutes_and_a_pass_after_eight_hours() {
    let url = Postgres::shared().database();
    let office = Office::start(&format!("[store]\nurl = \"{url}\"\n{SECRETS}"));
    let past = "UPDATE portcullis.admin_passes SET expires_at = expires_at - interval";
    let made = "SELECT round(extract(epoch FROM expires_at - now())) FROM portcullis.admin_passes";
    let seconds = |found: String| found.trim().parse::<i64>().expect("a number");
    let path = link(&office.gateway);
    assert!((240..=300).contains(&seconds(Postgres::shared().sql(&url, made))));
    Postgres::shared().sql(&url, &format!("{past} '5 minutes'"));
    let mut browser = Browser::new(&office.gateway);
    let (_, query) = path.split_once('?').expect("a query");
    assert_eq!(browser.post("/open", query).await.status, 403);
    browser.open().await;
    let browsers = format!("{made} WHERE kind = 'browser'");
    assert!((28_000..=28_800).contains(&seconds(Postgres::shared().sql(&url, &browsers))));
    assert_eq!(browser.get("/").await.status, 200);
    Postgres::shared().sql(&url, &format!("{past} '8 hours'"));
    assert_eq!(browser.get("/").await.status, 401);
}

#[tokio::test]
async fn the_page_shows_and_ends_sessions_lifts_bans_and_sweeps() {
    for office in Office::on_both_engines() {
        office.add("ada", &[]).await;
        let cookie = office.sign_in("ada").await;
        let mut browser = Browser::new(&office.gateway);
        let csrf = browser.open().await;
        let page = browser.get("/").await.text();
        let id = office.json("/api/sessions").await["items"][0]["public_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        assert!(
            page.contains("ada") && page.contains(&id) && page.contains("active sessions"),
            "{page}"
        );
        let ended = browser.post("/act", &format!("csrf={csrf}&end={id}")).await;
        assert_eq!(
            (ended.status, ended.value("location")),
            (303, Some("/?ended")),
            "{}",
            ended.text()
        );
        assert!(!office.opens(&cookie).await);
        assert!(browser.get("/?ended").await.text().contains("The session was ended."));
        let again = browser.post("/act", &format!("csrf={csrf}&end={id}")).await;
        assert_eq!(again.value("location"), Some("/?gone"));
        let swept = browser.post("/act", &format!("csrf={csrf}&sweep=now")).await;
        assert_eq!(swept.value("location"), Some("/?swept"));
        let event = &office.json("/api/audit?kind=session_ended").await["items"][0];
        assert_eq!((&event["actor"], &event["session"]), (&json!("admin-link"), &json!(id)));
        assert_eq!(browser.post("/act", &format!("csrf={csrf}")).await.status, 400);
        assert_eq!(browser.post("/act", &format!("csrf={csrf}&end=x")).await.status, 404);
    }
}

#[tokio::test]
async fn no_other_page_changes_anything_and_no_other_browser_has_the_token() {
    let office = Office::start("");
    office.add("ada", &[]).await;
    let cookie = office.sign_in("ada").await;
    let id = office.json("/api/sessions").await["items"][0]["public_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let mut browser = Browser::new(&office.gateway);
    let csrf = browser.open().await;
    let mut other = Browser::new(&office.gateway);
    let foreign = other.open().await;
    assert_ne!(csrf, foreign);
    let form = format!("csrf={csrf}&end={id}");
    for lines in [
        &[][..],
        &["Sec-Fetch-Site: cross-site"],
        &["Sec-Fetch-Site: same-site"],
        &["Origin: null"],
        &["Origin: http://127.0.0.1:1"],
    ] {
        for target in ["/act", "/leave"] {
            assert_eq!(
                browser.send("POST", target, lines, &form).await.status,
                403,
                "{target} {lines:?}"
            );
        }
    }
    for form in [
        format!("end={id}"),
        format!("csrf={foreign}&end={id}"),
        format!("csrf=&end={id}"),
    ] {
        assert_eq!(browser.post("/act", &form).await.status, 403, "{form}");
    }
    assert_eq!(Browser::new(&office.gateway).post("/act", &form).await.status, 401);
    assert_eq!(
        browser
            .send("POST", "/open", &["Sec-Fetch-Site: cross-site"], "link=x")
            .await
            .status,
        403
    );
    for (method, target) in [("POST", "/"), ("PUT", "/open"), ("GET", "/act"), ("GET", "/leave")] {
        assert_eq!(
            browser.send(method, target, &[], "").await.status,
            405,
            "{method} {target}"
        );
    }
    assert!(office.opens(&cookie).await, "nothing of all this ended anything");
}

#[tokio::test]
async fn the_cookie_opens_the_api_too_until_it_is_left_and_never_goes_to_an_application() {
    let office = Office::start("");
    let mut browser = Browser::new(&office.gateway);
    let csrf = browser.open().await;
    assert_eq!(browser.get("/api/users").await.status, 200);
    let line = format!("Cookie: {}", browser.cookie);
    let lines = |more: &'static str| {
        vec![
            line.clone(),
            "Content-Type: application/json".to_owned(),
            more.to_owned(),
        ]
    };
    for (more, status) in [
        ("X: y", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-origin", 201),
    ] {
        let lines = lines(more);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let answer = office
            .plain("POST", "/api/users", &lines, br#"{"username":"eve"}"#)
            .await;
        assert_eq!(answer.status, status, "{more}: {}", answer.text());
    }
    // A wrong token is not forgiven because of a cookie.
    let bearer = format!("Authorization: Bearer {TOKEN}x");
    refused(
        &office.plain("GET", "/api/users", &[&line, &bearer], b"").await,
        401,
        "not the admin token",
    );
    // Browsers send it to every port of a host.
    let kept = format!("{line}; own=1");
    assert_eq!(office.client().await.get(HOST, "/public", &[&kept]).await.status, 200);
    assert_eq!(office.app.last().values("cookie"), ["own=1"]);
    let left = browser.post("/leave", &format!("csrf={csrf}")).await;
    assert_eq!(left.status, 303);
    assert!(left.value("set-cookie").expect("a cookie").contains("Max-Age=0"));
    assert_eq!(browser.get("/").await.status, 401);
    let answer = office.plain("GET", "/api/users", &[&line], b"").await;
    refused(&answer, 401, "Authorization: Bearer TOKEN");
    assert_eq!(office.json("/api/audit").await["items"][0]["kind"], "admin_signed_out");
}

#[tokio::test]
async fn who_tries_wrong_tokens_or_links_waits() {
    let app = Upstream::hello();
    let config = super::config("[throttle]\ntoken = \"3/10m\"\n", &app);
    let gateway = Gateway::start(&config);
    let office = Office { gateway, app };
    let wrong = ["Authorization: Bearer wrong"];
    for _ in 0..3 {
        assert_eq!(office.plain("GET", "/api/users", &wrong, b"").await.status, 401);
    }
    let answer = office.plain("GET", "/api/users", &wrong, b"").await;
    refused(&answer, 429, "wrong tokens");
    assert!(
        answer
            .value("retry-after")
            .expect("a time")
            .parse::<u64>()
            .is_ok_and(|seconds| seconds > 0)
    );
    assert_eq!(
        office.get("/api/users").await.status,
        429,
        "the right one is not looked at either"
    );
    let mut browser = Browser::new(&office.gateway);
    let path = link(&office.gateway);
    let (_, query) = path.split_once('?').expect("a query");
    assert_eq!(browser.post("/open", query).await.status, 429);
    let mut client = Client::plain(office.gateway.admin()).await;
    assert_eq!(client.get("localhost", "/metrics", &[]).await.status, 200);
}

#[tokio::test]
async fn the_command_needs_to_know_where_the_listener_is() {
    let app = Upstream::hello();
    let gateway = Gateway::start(&stage::config("", ROUTES, &app.url()));
    let output = gateway.command(&["admin", "login-link"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--admin-url"));
    let config = stage::config("", ROUTES, &app.url()).replacen(
        "127.0.0.1:0\"\n\n[[upstream",
        "127.0.0.1:9191\"\n\n[[upstream",
        1,
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("portcullis.toml"), config).expect("the configuration is written");
    let args = ["admin", "login-link", "--config", "portcullis.toml"];
    let output = crate::support::gateway::portcullis(folder.path(), &args, "");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.starts_with("http://127.0.0.1:9191/open?link="), "{said}");
}
