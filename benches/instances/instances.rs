//! Three gateways over one database, in front of one application, over plain HTTP.

use super::Bench;
use super::application;
use super::connection::Connection;
use super::cookie::NAME;
use super::cookie::SECRET;
use crate::support::gateway::Gateway;
use std::net::SocketAddr;

const USER: &str = "ada";
const PASSWORD: &str = "correct horse battery staple";
const TOKEN: &str = "a-token-for-figures-only-of-more-than-32-bytes";

pub(super) struct Instances {
    pub(super) all: Vec<Gateway>,
}

/// A session that was opened by a log-in.
pub(super) struct Session {
    pub(super) cookie: String,
    pub(super) public_id: String,
}

impl Instances {
    pub(super) async fn start(bench: &Bench) -> Self {
        let application = application::serve().await;
        let config = format!(
            "[store]\nurl = \"{}\"\n[session]\nsecrets = [\"{SECRET}\"]\ncookie = \"{NAME}\"\nsecure = \"auto\"\n\
             max_per_user = \"unlimited\"\n[log]\naccess = false\n[[listener]]\naddress = \"127.0.0.1:0\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n\
             [[upstream]]\nname = \"app\"\nservers = [\"http://{application}\"]\n\
             [[route]]\nname = \"app\"\nupstream = \"app\"\naccess = \"signed_in\"\n",
            bench.url
        );
        let all: Vec<Gateway> = (0..3).map(|_| Gateway::start(&config)).collect();
        all[0].add_user(USER, PASSWORD, &[]);
        Self { all }
    }

    pub(super) fn address(&self, instance: usize) -> SocketAddr {
        self.all[instance].address(0)
    }

    /// A log-in on one instance.
    pub(super) async fn sign_in(&self, instance: usize) -> Session {
        let body = serde_json::json!({ "username": USER, "password": PASSWORD }).to_string();
        let lines = ["Content-Type: application/json", "Sec-Fetch-Site: same-origin"];
        let address = self.address(instance);
        let mut client = crate::support::client::Client::plain(address).await;
        let host = address.to_string();
        let answer = client
            .request("POST", &host, "/.portcullis/login", &lines, body.as_bytes())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let public_id = answer.json()["session"]["public_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        Session {
            cookie: answer.cookie(NAME).expect("a cookie"),
            public_id,
        }
    }

    /// Several log-ins, on all instances in turn.
    pub(super) async fn sign_in_many(&self, count: usize) -> Vec<Session> {
        let mut sessions = Vec::with_capacity(count);
        for number in 0..count {
            sessions.push(self.sign_in(number % 3).await);
        }
        sessions
    }

    /// A connection to the operators' API of one instance.
    pub(super) async fn office(&self, instance: usize) -> Connection {
        Connection::plain(self.all[instance].admin())
            .await
            .expect("a connection")
    }

    /// Ends a session by the API.
    pub(super) async fn revoke(office: &mut Connection, session: &Session) {
        let lines = format!("Authorization: Bearer {TOKEN}\r\n");
        let target = format!("/api/sessions/{}", session.public_id);
        let answer = office.ask("DELETE", &target, &lines, b"").await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
    }

    /// A series of one instance's metrics.
    pub(super) async fn metric(&self, instance: usize, series: &str) -> f64 {
        let answer = self.office(instance).await.ask("GET", "/metrics", "", b"").await;
        let text = String::from_utf8_lossy(&answer.expect("metrics").body).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        line.unwrap_or_else(|| panic!("{series} is not there"))
    }

    /// Look-ups in the store that one instance has made.
    pub(super) async fn lookups(&self, instance: usize, result: &str) -> f64 {
        let series = format!("portcullis_session_lookups_total{{source=\"native\",result=\"{result}\"}}");
        self.metric(instance, &series).await
    }

    /// Seconds of processor time that one instance has used, by the kernel's count of a hundredth.
    pub(super) fn processor(&self, instance: usize) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.all[instance].pid()));
        let stat = stat.expect("the process lives");
        // pid (name) state …; user and system time are the 14th and 15th field.
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let fields = after_name.split(' ').skip(11).take(2);
        fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}
