//! A desk over a store in memory that can be unreachable, and a browser in front of it.

use argon2::PasswordHasher;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method};
use portcullis::account::Accounts;
use portcullis::clock::Clock;
use portcullis::model::*;
use portcullis::portal::Portal;
use portcullis::portal::Settings;
use portcullis::session::CacheSettings;
use portcullis::session::CookieSettings;
use portcullis::session::SameSite;
use portcullis::session::Secure;
use portcullis::session::Sessions;
use portcullis::session::SweepSettings;
use portcullis::store::*;
use portcullis::telemetry::Metrics;
use portcullis::web::Answer;
use portcullis::web::Desk;
use portcullis::web::Exchange;
use portcullis::web::RequestId;
use portcullis::web::Scheme;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use uuid::Uuid;

pub const START: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);
pub const PASSWORD: &str = "correct horse battery";

/// A bare request to `https://crm.example.com`.
pub fn exchange(method: Method, path: &str) -> Exchange {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (path, None),
    };
    Exchange {
        method,
        path: path.to_owned(),
        aliased: false,
        query,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        scheme: Scheme::Https,
        host: "crm.example.com".to_owned(),
        port: None,
        request_id: RequestId(1),
    }
}

static HASH: LazyLock<String> = LazyLock::new(|| {
    argon2::Argon2::default()
        .hash_password_with_salt(PASSWORD.as_bytes(), b"sixteen bytes ok")
        .unwrap()
        .to_string()
});

fn user(name: &str) -> User {
    User {
        id: UserId(Uuid::from_u128(
            name.bytes().fold(0, |id, byte| id * 256 + u128::from(byte)),
        )),
        username: Username::parse(name).unwrap(),
        email: Some(format!("{name}@example.com")),
        email_verified: true,
        name: Some(format!("The {name}")),
        groups: vec!["staff".to_owned()],
        state: UserState::Active,
        created_at: START,
        app_users: std::collections::BTreeMap::new(),
    }
}

/// Knows alice and bob, keeps sessions in memory.
#[derive(Default)]
pub struct FakeStore {
    rows: Mutex<HashMap<Digest, Session>>,
    /// Who registered.
    pub added: Mutex<Vec<User>>,
    /// Passwords that are no longer the first one.
    passwords: Mutex<HashMap<UserId, String>>,
    next_password: Mutex<Option<(UserId, String)>>,
    down: AtomicBool,
    pub events: Mutex<Vec<Event>>,
}

impl FakeStore {
    pub fn is_down(&self, down: bool) {
        self.down.store(down, SeqCst);
    }

    pub fn sessions(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    /// Sets a password as an administrator does, right after the next time that it was asked for.
    pub fn set_after_next_proof(&self, name: &str, hash: &str) {
        *self.next_password.lock().unwrap() = Some((user(name).id, hash.to_owned()));
    }

    fn users(&self) -> Vec<User> {
        let added = self.added.lock().unwrap().clone();
        ["alice", "bob"].map(user).into_iter().chain(added).collect()
    }

    fn password_of(&self, user: UserId) -> String {
        let passwords = self.passwords.lock().unwrap();
        passwords.get(&user).unwrap_or(&HASH).clone()
    }

    fn found(&self, session: Session) -> Found {
        let user = self.users().into_iter().find(|user| user.id == session.user).unwrap();
        Found { session, user }
    }

    fn all(&self) -> Vec<Found> {
        let rows = self.rows.lock().unwrap().clone();
        rows.into_values().map(|row| self.found(row)).collect()
    }

    fn up(&self) -> Result<(), StoreError> {
        if self.down.load(SeqCst) {
            Err(StoreError::TimedOut)
        } else {
            Ok(())
        }
    }

    fn ends(&self, meant: impl Fn(&Session) -> bool) -> Vec<Ended> {
        let gone = self
            .rows
            .lock()
            .unwrap()
            .extract_if(|_, session| meant(session))
            .collect::<Vec<_>>();
        gone.into_iter()
            .map(|(digest, session)| Ended {
                digest,
                public_id: session.public_id,
                user: session.user,
            })
            .collect()
    }
}

fn never<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(async { Err(StoreError::NoSuchUser) })
}

impl Managing for FakeStore {}

impl Feed for FakeStore {}

impl Passes for FakeStore {}

impl Imports for FakeStore {}

impl Tombstones for FakeStore {}

impl Instances for FakeStore {}

impl Store for FakeStore {
    fn find_session<'a>(&'a self, digest: &'a Digest) -> Call<'a, Option<Found>> {
        Box::pin(async move {
            self.up()?;
            let session = self.rows.lock().unwrap().get(digest).cloned();
            Ok(session.map(|session| self.found(session)))
        })
    }

    fn find_sessions<'a>(&'a self, digests: &'a [Digest]) -> Call<'a, Vec<Found>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for digest in digests {
                all.extend(self.find_session(digest).await?);
            }
            Ok(all)
        })
    }

    fn name_device<'a>(&'a self, digest: &'a Digest, name: &'a str, event: Event) -> Call<'a, bool> {
        Box::pin(async move {
            self.up()?;
            let mut rows = self.rows.lock().unwrap();
            let Some(row) = rows.get_mut(digest).filter(|row| row.device.as_deref() != Some(name)) else {
                return Ok(false);
            };
            row.device = Some(name.to_owned());
            self.events.lock().unwrap().push(event);
            Ok(true)
        })
    }

    fn open_session(&self, new: NewSession, event: Event) -> Call<'_, Vec<Ended>> {
        Box::pin(async move {
            self.up()?;
            let standing = self.password_of(new.session.user);
            if new.proven.as_ref().is_some_and(|hash| hash.expose_secret() != standing) {
                return Err(StoreError::NoSuchUser);
            }
            let replaced = self.ends(|session| Some(session.digest) == new.replaces);
            self.rows.lock().unwrap().insert(new.session.digest, new.session);
            self.events.lock().unwrap().push(event);
            Ok(replaced)
        })
    }

    fn end_sessions(&self, which: Which, event: Event) -> Call<'_, Vec<Ended>> {
        Box::pin(async move {
            self.up()?;
            let ended = self.ends(|session| match which {
                Which::Digest(digest) => session.digest == digest,
                Which::Public(id) => session.public_id == id,
                Which::User(user) => session.user == user,
                Which::Others { user, keep } => session.user == user && session.digest != keep,
                Which::All => true,
            });
            self.events.lock().unwrap().push(event);
            Ok(ended)
        })
    }

    fn find_credentials<'a>(&'a self, login: &'a str) -> Call<'a, Option<Credentials>> {
        Box::pin(async move {
            self.up()?;
            let mut users = self.users().into_iter();
            let user = users.find(|user| user.username.as_str() == login || user.email.as_deref() == Some(login));
            let found = user.map(|user| Credentials {
                password: Some(SecretString::from(self.password_of(user.id))),
                user,
            });
            let next = self.next_password.lock().unwrap().take();
            self.passwords.lock().unwrap().extend(next);
            Ok(found)
        })
    }

    fn record(&self, event: Event) -> Call<'_, ()> {
        Box::pin(async move {
            self.up()?;
            self.events.lock().unwrap().push(event);
            Ok(())
        })
    }

    fn admit<'a>(&'a self, _: &'a [Cell], _: Timestamp, _: &'a Event) -> Call<'a, Admission> {
        Box::pin(async { self.up().map(|()| Admission::Admitted) })
    }

    fn give_back<'a>(&'a self, _: &'a [Cell]) -> Call<'a, ()> {
        Box::pin(async { self.up() })
    }

    fn free_at<'a>(&'a self, _: &'a str) -> Call<'a, Option<Timestamp>> {
        Box::pin(async { self.up().map(|()| None) })
    }

    fn list_bans<'a>(&'a self, _: Timestamp, _: Option<&'a str>, _: u32) -> Call<'a, Vec<Ban>> {
        Box::pin(async { self.up().map(|()| Vec::new()) })
    }

    fn lift_bans<'a>(&'a self, _: &'a WhichBans, _: &'a Event) -> Call<'a, Vec<String>> {
        Box::pin(async { self.up().map(|()| Vec::new()) })
    }

    fn forget_cells(&self, _: Timestamp, _: u32) -> Call<'_, u64> {
        Box::pin(async { self.up().map(|()| 0) })
    }

    fn now(&self) -> Call<'_, Timestamp> {
        Box::pin(async { self.up().map(|()| START) })
    }

    fn data_version(&self) -> Call<'_, Option<i64>> {
        Box::pin(async { self.up().map(|()| Some(1)) })
    }

    fn touch_sessions<'a>(&'a self, _: &'a [Touch], _: Duration) -> Call<'a, Vec<Touched>> {
        never()
    }
    fn sweep_sessions(&self, _: SweepScope, _: Timestamp, _: u32) -> Call<'_, Option<u64>> {
        never()
    }
    fn record_sweep(&self, _: Sweep) -> Call<'_, ()> {
        never()
    }
    fn last_sweeps(&self, _: u32) -> Call<'_, Vec<Sweep>> {
        never()
    }
    fn list_sessions(&self, of: Option<UserId>, after: Option<PublicId>, limit: u32) -> Call<'_, Vec<Found>> {
        Box::pin(async move {
            self.up()?;
            let mut found = self.all();
            found.retain(|found| {
                of.is_none_or(|of| of == found.session.user)
                    && after.is_none_or(|after| found.session.public_id < after)
            });
            found.sort_by_key(|found| std::cmp::Reverse(found.session.public_id));
            found.truncate(limit as usize);
            Ok(found)
        })
    }
    fn find_session_by_public_id(&self, id: PublicId) -> Call<'_, Option<Found>> {
        Box::pin(async move {
            self.up()?;
            Ok(self.all().into_iter().find(|found| found.session.public_id == id))
        })
    }
    fn add_user(&self, new: NewUser, event: Event) -> Call<'_, ()> {
        Box::pin(async move {
            self.up()?;
            if self.users().iter().any(|user| user.username == new.user.username) {
                return Err(StoreError::Taken("the user name"));
            }
            let password = new.password.unwrap().expose_secret().to_owned();
            self.passwords.lock().unwrap().insert(new.user.id, password);
            self.added.lock().unwrap().push(new.user);
            self.events.lock().unwrap().push(event);
            Ok(())
        })
    }
    fn add_users(&self, _: Vec<(NewUser, Event)>, _: bool) -> Call<'_, Vec<Added>> {
        never()
    }
    fn replace_password(&self, _: UserId, _: SecretString, _: SecretString, _: Event) -> Call<'_, bool> {
        never()
    }
    fn change_password(&self, new: NewSession, change: PasswordChange, event: Event) -> Call<'_, Option<Vec<Ended>>> {
        Box::pin(async move {
            self.up()?;
            let user = new.session.user;
            if self.password_of(user) != change.before.expose_secret() {
                return Ok(None);
            }
            let after = change.after.expose_secret().to_owned();
            self.passwords.lock().unwrap().insert(user, after);
            let ended = self.ends(|session| session.user == user);
            self.rows.lock().unwrap().insert(new.session.digest, new.session);
            self.events.lock().unwrap().push(event);
            Ok(Some(ended))
        })
    }
    fn find_user<'a>(&'a self, _: &'a Username) -> Call<'a, Option<User>> {
        never()
    }
    fn list_users<'a>(&'a self, _: Option<&'a str>, _: Option<&'a Username>, _: u32) -> Call<'a, Vec<User>> {
        never()
    }
    fn change_user(&self, _: UserId, _: UserChange, _: Event) -> Call<'_, Vec<Ended>> {
        never()
    }
    fn delete_user(&self, _: UserId, _: Event) -> Call<'_, Vec<Ended>> {
        never()
    }
    fn list_events(&self, _: Option<UserId>, _: u32) -> Call<'_, Vec<RecordedEvent>> {
        never()
    }
    fn count(&self, _: Timestamp) -> Call<'_, Counts> {
        never()
    }
    fn migrate(&self, _: bool) -> Call<'_, Vec<String>> {
        never()
    }
    fn description(&self) -> String {
        "in memory".to_owned()
    }
    fn close(&self) -> Call<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn session_settings() -> portcullis::session::Settings {
    portcullis::session::Settings {
        secrets: vec![SecretSlice::from(vec![7; 32])],
        cookie: CookieSettings {
            name: "__Host-portcullis".to_owned(),
            domains: Vec::new(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        },
        idle_timeout: Duration::from_hours(12),
        lifetime: Duration::from_hours(7 * 24),
        remember_lifetime: Some(Duration::from_hours(30 * 24)),
        rolling: true,
        touch_interval: Duration::from_mins(1),
        sources: Vec::new(),
        sweep: SweepSettings {
            interval: Duration::from_mins(15),
            at: None,
        },
        max_per_user: None,
        when_full: WhenFull::EndOldest,
        cache: CacheSettings {
            capacity: 1000,
            max_age: Duration::from_secs(30),
            max_age_without_feed: Duration::from_secs(5),
        },
    }
}

/// A portal and what stands behind it.
pub struct Bench {
    pub portal: Portal,
    pub store: Arc<FakeStore>,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(|_, _| ())
    }

    /// With other settings than most tests need.
    pub fn with(adjust: impl FnOnce(&mut Settings, &mut portcullis::account::Settings)) -> Self {
        let store = Arc::new(FakeStore::default());
        let clock = Clock::manual(START);
        let metrics = Arc::new(Metrics::new());
        let control = tokio::runtime::Handle::current();
        let sessions = Sessions::new(
            store.clone(),
            session_settings(),
            clock.clone(),
            control,
            Arc::clone(&metrics),
        );
        let mut costs = portcullis::account::Settings {
            least_failure_time: Duration::ZERO,
            site: Some("Example Ltd".to_owned()),
            ..portcullis::account::Settings::default()
        };
        let mut settings = Settings {
            prefix: "/.portcullis".to_owned(),
            name: Some("Example Ltd".to_owned()),
            return_origins: vec!["https://app.example.com".to_owned()],
            clear_cache: Vec::new(),
            unsafe_plain_login: false,
            registration: false,
        };
        adjust(&mut settings, &mut costs);
        let accounts = Accounts::new(store.clone(), costs, clock.clone());
        Self {
            portal: Portal::new(settings, sessions, accounts, Arc::clone(&metrics)),
            store,
            clock,
            metrics,
        }
    }

    /// Lets every answer that a cache believes grow old.
    pub fn let_caches_grow_old(&self) {
        self.clock.advance(Duration::from_mins(1));
    }

    pub fn counted(&self, result: &'static str) -> u64 {
        self.metrics.login(result).get()
    }
}

/// Keeps cookies and speaks like a browser.
#[derive(Clone, Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
}

impl Browser {
    pub async fn send(&mut self, bench: &Bench, mut request: Exchange) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request.headers.insert(COOKIE, pairs.join("; ").parse().unwrap());
        }
        let answer = bench.portal.answer(request).await;
        for line in answer.headers().get_all(SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    /// A navigation.
    pub async fn open(&mut self, bench: &Bench, path: &str) -> Answer {
        let mut request = exchange(Method::GET, path);
        request
            .headers
            .insert("accept", HeaderValue::from_static("text/html,*/*;q=0.8"));
        request
            .headers
            .insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
        self.send(bench, request).await
    }

    /// What a script asks for.
    pub async fn fetch(&mut self, bench: &Bench, path: &str) -> Answer {
        let mut request = exchange(Method::GET, path);
        request
            .headers
            .insert("accept", HeaderValue::from_static("application/json"));
        self.send(bench, request).await
    }

    /// Opens `page`, fills its form and sends it to `path`.
    pub async fn submit(&mut self, bench: &Bench, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let shown = self.open(bench, page).await;
        let token = token(&shown).expect("the page has a form");
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("csrf", &token).extend_pairs(fields);
        self.send(bench, form(path, body.finish())).await
    }

    pub async fn post_json(&mut self, bench: &Bench, path: &str, body: &serde_json::Value) -> Answer {
        self.send(bench, json(path, body)).await
    }

    /// Signs `name` in as a script does.
    pub async fn sign_in(&mut self, bench: &Bench, name: &str) {
        let body = serde_json::json!({"username": name, "password": PASSWORD});
        let answer = self.post_json(bench, "/.portcullis/login", &body).await;
        assert_eq!(answer.status(), 200, "{}", text(&answer));
    }
}

/// A form as a browser sends it from our own page.
pub fn form(path: &str, body: String) -> Exchange {
    let mut request = exchange(Method::POST, path);
    let headers = &mut request.headers;
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    headers.insert("accept", HeaderValue::from_static("text/html,*/*;q=0.8"));
    headers.insert("origin", HeaderValue::from_static("https://crm.example.com"));
    headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
    headers.insert("sec-fetch-mode", HeaderValue::from_static("navigate"));
    request.body = Bytes::from(body);
    request
}

/// JSON as a script on our own origin sends it.
pub fn json(path: &str, body: &serde_json::Value) -> Exchange {
    let mut request = exchange(Method::POST, path);
    request
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
        .headers
        .insert("origin", HeaderValue::from_static("https://crm.example.com"));
    request.body = Bytes::from(body.to_string());
    request
}

pub fn text(answer: &Answer) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}

pub fn body(answer: &Answer) -> serde_json::Value {
    serde_json::from_slice(answer.body()).unwrap()
}

pub fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The token in the page's form.
pub fn token(answer: &Answer) -> Option<String> {
    let (_, rest) = text(answer).split_once("name=\"csrf\" value=\"")?;
    Some(rest.split('"').next()?.to_owned())
}
