//! What it costs to know whose a request is, from its `Cookie` header on, where the core remembers the session: one of ours,
//! one of an application that does not sign its cookies, and one of express, in turns.
//!
//! Time on the CPU of one core, without the rest of a request. Our cookie's HMAC-SHA-256 and SHA-256 are computed with each
//! request; what an application's cookie names a core keeps, once it has verified it. What the cryptography takes alone stands
//! beside it.

use super::Bench;
use aws_lc_rs::digest::SHA256;
use aws_lc_rs::digest::digest;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;
use http::HeaderValue;
use http::header::COOKIE;
use portcullis::clock::Clock;
use portcullis::model::Username;
use portcullis::session::Accepted;
use portcullis::session::Among;
use portcullis::session::CacheSettings;
use portcullis::session::CookieSettings;
use portcullis::session::Identified;
use portcullis::session::Local;
use portcullis::session::Login;
use portcullis::session::Place;
use portcullis::session::Preset;
use portcullis::session::SameSite;
use portcullis::session::Secrets;
use portcullis::session::Secure;
use portcullis::session::Sessions;
use portcullis::session::Settings;
use portcullis::session::SourceSettings;
use portcullis::session::SweepSettings;
use portcullis::session::WhenFull;
use portcullis::store::Adding;
use portcullis::store::LegacySettings;
use portcullis::store::Store;
use portcullis::telemetry::Metrics;
use portcullis::web::cookie_pairs;
use portcullis::web::cookie_values;
use secrecy::ExposeSecret;
use secrecy::SecretSlice;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const ROUNDS: usize = 21;
/// Many, because the kernel counts the time of a thread that runs in steps of up to four milliseconds.
const HITS: u32 = 200_000;
const SECRET: &[u8] = b"keyboard cat";
const HOST: &str = "app.example.test";
const OURS: &str = "__Host-portcullis";
const SID: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz012345";
const TABLES: &str = "CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL); \
    INSERT INTO session VALUES ('AbCdEfGhIjKlMnOpQrStUvWxYz012345', '{\"cookie\":{},\"userId\":42}', \
    now() AT TIME ZONE 'UTC' + interval '1 hour'); \
    CREATE TABLE sessions (id text PRIMARY KEY, user_id bigint NOT NULL, expires_at timestamptz NOT NULL); \
    INSERT INTO sessions VALUES ('AbCdEfGhIjKlMnOpQrStUvWxYz012345', 42, now() + interval '1 hour')";

/// One kind of request.
struct Kind {
    name: &'static str,
    accepted: Accepted,
    headers: HeaderMap,
}

impl Kind {
    fn new(name: &'static str, source: Option<&str>, cookie: &str) -> Self {
        let line = format!("_ga=GA1.1.1234567890.1700000000; theme=dark; {cookie}");
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_str(&line).expect("a header"));
        Self {
            name,
            accepted: Accepted {
                native: true,
                sources: source.into_iter().map(str::to_owned).collect(),
                first_wins: false,
            },
            headers,
        }
    }

    /// As the gate does it where nothing has to be waited for.
    fn identify(&self, local: &Local) -> Option<Identified> {
        let mut values = cookie_values(&self.headers, OURS);
        let first = values.next();
        if self.accepted.sources.is_empty() {
            return local.try_identify(&[first?]);
        }
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&self.headers).collect();
        local.try_identify_among(&self.accepted, HOST, first.as_slice(), &cookies)
    }

    /// Asks once, so that the core remembers.
    async fn warm(&self, local: &Local) {
        let values: Vec<&[u8]> = cookie_values(&self.headers, OURS).collect();
        let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(&self.headers).collect();
        let named = local.identify_among(&self.accepted, HOST, &values, &cookies, Duration::ZERO);
        let who = named.await.who;
        assert!(matches!(who, Among::One(Identified::Live(_))), "{}: {who:?}", self.name);
    }
}

pub(super) async fn run(bench: &Bench) {
    let application = bench.server.database();
    bench.server.sql(&application, TABLES);
    let store = Bench::store(&bench.url).await;
    let sessions = Sessions::new(
        Arc::clone(&store),
        settings(&application),
        Clock::system(),
        tokio::runtime::Handle::current(),
        Arc::new(Metrics::new()),
    );
    let ours = sign_in(bench, &*store, &sessions).await;
    let kinds = [
        Kind::new("ours", None, &format!("{OURS}={ours}")),
        Kind::new("unsigned", Some("plain"), &format!("session={SID}")),
        Kind::new("express", Some("crm"), &format!("connect.sid={}", signed())),
    ];
    let local = Local::new(sessions);
    for kind in &kinds {
        kind.warm(&local).await;
    }
    let mut whole = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (kind, taken) in kinds.iter().zip(&mut whole) {
            taken.push(each(|| {
                let found = kind.identify(black_box(&local));
                assert!(
                    matches!(found, Some(Identified::Live(_))),
                    "{} is remembered",
                    kind.name
                );
            }));
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let tag = alone(|| hmac::sign(&key, black_box(SID.as_bytes())));
    let hash = alone(|| digest(&SHA256, black_box(SID.as_bytes())));
    let whole = whole.map(median);
    println!("hits: an HMAC-SHA-256 takes {tag:.0} ns here, a SHA-256 {hash:.0} ns");
    for (kind, each) in kinds.iter().zip(whole) {
        println!("hits: {}: {each:.0} ns, {:.2} of ours", kind.name, each / whole[0]);
    }
}

/// What one of many takes by itself.
fn alone<T>(work: impl Fn() -> T) -> f64 {
    let rounds = (0..ROUNDS).map(|_| {
        each(|| {
            black_box(work());
        })
    });
    median(rounds.collect())
}

/// Nanoseconds on the CPU that one of many takes.
fn each(work: impl Fn()) -> f64 {
    let before = on_cpu();
    for _ in 0..HITS {
        work();
    }
    (on_cpu() - before) as f64 / f64::from(HITS)
}

/// How long this thread was on a CPU, in nanoseconds.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux says it");
    let first = text.split(' ').next().expect("the first figure");
    first.parse().expect("a number")
}

fn median(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken[taken.len() / 2]
}

/// The value of a cookie of ours.
async fn sign_in(bench: &Bench, store: &dyn Store, sessions: &Sessions) -> String {
    let mut psql = bench.psql().await;
    sqlx::query(
        "INSERT INTO portcullis.users (id, created_at, email_verified, state, username, groups)
         VALUES (gen_random_uuid(), now(), false, 'active', 'ada', '{}')",
    )
    .execute(&mut psql)
    .await
    .expect("a user");
    let name = Username::parse("ada").expect("a name");
    let user = store.find_user(&name).await.expect("an answer").expect("she is there");
    let login = Login {
        user,
        methods: vec!["pwd".to_owned()],
        remember: false,
        known_browser: true,
        user_agent: None,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        replaces: None,
        proven: None,
    };
    let opened = sessions.open(login).await.expect("a session");
    opened.cookie_value.expose_secret().to_owned()
}

/// A cookie as cookie-signature makes it.
fn signed() -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), SID.as_bytes());
    let tag = STANDARD_NO_PAD.encode(tag).replace('+', "%2B").replace('/', "%2F");
    format!("s%3A{SID}.{tag}")
}

fn settings(application: &str) -> Settings {
    let bound = Duration::from_mins(30);
    Settings {
        secrets: vec![SecretSlice::from(vec![1; 32])],
        cookie: CookieSettings {
            name: OURS.to_owned(),
            domains: Vec::new(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        },
        idle_timeout: Duration::from_hours(12),
        lifetime: Duration::from_hours(24),
        remember_lifetime: None,
        max_per_user: None,
        when_full: WhenFull::EndOldest,
        rolling: true,
        touch_interval: Duration::from_mins(1),
        sources: vec![
            source(application, "plain", Preset::PlainTable, "user_id"),
            source(application, "crm", Preset::Express, "/userId"),
        ],
        sweep: SweepSettings {
            interval: Duration::from_mins(15),
            at: None,
        },
        cache: CacheSettings {
            capacity: 1_000,
            max_age: bound,
            max_age_without_feed: bound,
        },
    }
}

fn source(application: &str, name: &str, preset: Preset, user: &str) -> SourceSettings {
    let mut mapping = preset.mapping();
    mapping.user = vec![Place::parse(user).expect("a place")];
    let columns = if mapping.payload.is_none() {
        vec![user.to_owned()]
    } else {
        Vec::new()
    };
    SourceSettings {
        name: name.to_owned(),
        hosts: vec![HOST.to_owned()],
        secrets: Arc::new(Secrets::new(vec![SecretSlice::from(SECRET.to_vec())])),
        table: LegacySettings {
            url: application.to_owned().into(),
            table: mapping.table.clone(),
            key: mapping.key.clone(),
            payload: mapping.payload.as_ref().map(|(column, _)| column.clone()),
            payload_paths: None,
            verify: None,
            columns,
            expiry: mapping.expiry.clone(),
            zone: mapping.zone.clone(),
            users: None,
            may_touch: false,
            may_end: false,
            adding: Adding::default(),
            max_connections: 1,
            call_timeout: Duration::from_secs(5),
            prepared_statements: true,
        },
        mapping,
        user_map: BTreeMap::new(),
        group_map: BTreeMap::new(),
        logout_paths: Vec::new(),
        max_age: Duration::from_mins(30),
        open: None,
        moved: false,
    }
}
