//! Several gateways over one Postgres database, in front of one application: what one of them changes, the others must see.

use super::client::{Client, Response};
use super::gateway::{Gateway, PATIENCE, pause};
use super::postgres::Postgres;
use super::stage::{HOST, PASSWORD, ROUTES, config};
use super::upstream::{Recorded, Reply, Upstream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of programs.
pub const TOKEN: &str = "0123456789abcdef-admin-token-0123456789abcdef";
/// What a gateway logs when the feed is healthy.
pub const SEEN: &str = "changes by other instances are seen as they happen";

/// Gateways that share nothing but a database.
pub struct Fleet {
    /// The application of all.
    pub app: Upstream,
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The database's URL, without a detour.
    pub url: String,
}

impl Fleet {
    /// So many gateways that believe what they know for a minute, so that whatever is seen sooner was told by the feed.
    pub fn start(count: usize) -> Self {
        Self::with(count, |_| Reply::text("hello"))
    }

    /// The same in front of an application of one's own.
    pub fn with(count: usize, script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Self {
        let url = Postgres::shared().database();
        let store = format!("url = \"{url}\"\n");
        let cache = "max_age = \"60s\"\nmax_age_without_feed = \"60s\"\n";
        let fleet = Self::over(url, &vec![store; count], cache, script);
        fleet.until_seen();
        fleet
    }

    /// One gateway for each `[store]` section. Whether their feeds are healthy is for the test to wait for.
    pub fn over(
        url: String,
        stores: &[String],
        cache: &str,
        script: impl Fn(&Recorded) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let app = Upstream::start(script);
        let start = |store: &String| {
            let top = format!(
                "[store]\n{store}[cache]\n{cache}[session]\nsecrets = [\"0123456789abcdef0123456789abcdef\"]\n"
            );
            let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
            let token = [("PORTCULLIS_ADMIN_TOKEN", TOKEN)];
            Gateway::try_start_in(&folder, &config(&top, ROUTES, &app.url()), &token)
                .unwrap_or_else(|end| panic!("the gateway ended with {:?}:\n{}", end.code, end.stderr))
        };
        Self {
            gateways: stores.iter().map(start).collect(),
            app,
            url,
        }
    }

    /// Waits until every gateway hears the feed.
    pub fn until_seen(&self) {
        self.gateways.iter().for_each(|gateway| gateway.wait_for_log(SEEN));
    }

    /// Runs SQL as an operator with psql would.
    pub fn sql(&self, sql: &str) -> String {
        Postgres::shared().sql(&self.url, &format!("SET search_path TO portcullis; {sql}"))
    }

    /// A connection to gateway `index`.
    pub async fn client(&self, index: usize) -> Client {
        let gateway = &self.gateways[index];
        Client::tls(gateway.address(0), HOST, &gateway.ca()).await
    }

    /// One connection to each.
    pub async fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for index in 0..self.gateways.len() {
            clients.push(self.client(index).await);
        }
        clients
    }

    /// A user who is signed in at the first gateway; the line with the cookie.
    pub async fn sign_in(&self, name: &str, groups: &[&str]) -> String {
        self.gateways[0].add_user(name, PASSWORD, groups);
        self.sign_in_again(name).await
    }

    /// One more session of a user; the line with the cookie.
    pub async fn sign_in_again(&self, name: &str) -> String {
        let pair = self.client(0).await.sign_in(HOST, name, PASSWORD).await;
        format!("Cookie: {pair}")
    }

    /// A session's row as SQL finds it: by its user.
    pub fn of_user(name: &str) -> String {
        format!("user_id = (SELECT id FROM users WHERE username = '{name}')")
    }

    /// Sends a request to the admin listener of a gateway.
    pub async fn admin(&self, index: usize, method: &str, target: &str) -> Response {
        let mut client = Client::plain(self.gateways[index].admin()).await;
        let bearer = format!("Authorization: Bearer {TOKEN}");
        client.request(method, "localhost", target, &[&bearer], b"").await
    }

    /// A metric of a gateway.
    pub async fn metric(&self, index: usize, line: &str) -> f64 {
        let text = self.admin(index, "GET", "/metrics").await.text();
        let value = text.lines().find_map(|each| each.strip_prefix(line));
        let value = value.unwrap_or_else(|| panic!("no {line} in {text}"));
        value.trim().parse().expect("a number")
    }

    /// Waits until a metric of a gateway has this value.
    pub async fn until_metric(&self, index: usize, line: &str, value: f64) {
        let started = Instant::now();
        loop {
            let found = self.metric(index, line).await;
            if (found - value).abs() < f64::EPSILON {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{line} is {found} at instance {index}");
            pause();
        }
    }
}

/// The status of a request with a cookie.
pub async fn status(client: &mut Client, target: &str, cookie: &str) -> u16 {
    client
        .get(HOST, target, &[cookie, "Accept: application/json"])
        .await
        .status
}

/// Waits until the answer has this status; how long that took.
pub async fn until_status(client: &mut Client, target: &str, cookie: &str, expected: u16, why: &str) -> Duration {
    let started = Instant::now();
    loop {
        let found = status(client, target, cookie).await;
        if found == expected {
            return started.elapsed();
        }
        assert!(started.elapsed() < PATIENCE, "{why}: still {found}");
        pause();
    }
}
