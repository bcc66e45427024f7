//! A store for tests that can be late, down, and counts what it is asked.

use super::Entry;
pub(super) use super::bench::{Bench, logout, settings};
use super::stripes::Stripes;
use crate::model::*;
use crate::store::*;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

pub(super) const START: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);
pub(super) const IDLE: Duration = Duration::from_hours(12);
pub(super) const LIFETIME: Duration = Duration::from_hours(7 * 24);
pub(super) const TOUCH: Duration = Duration::from_mins(1);
pub(super) const MAX_AGE: Duration = Duration::from_secs(30);
pub(super) const SHORT: Duration = Duration::from_secs(5);
pub(super) const NO_GRACE: Duration = Duration::ZERO;

pub(super) fn user(name: &str) -> User {
    User {
        id: UserId(Uuid::from_u128(
            name.bytes().fold(0, |id, byte| id << 8 | u128::from(byte)),
        )),
        username: Username::parse(name).unwrap(),
        email: None,
        email_verified: false,
        name: None,
        groups: vec!["staff".to_owned()],
        state: UserState::Active,
        created_at: START,
        app_users: std::collections::BTreeMap::new(),
    }
}

pub(super) fn entry(name: &str) -> Entry {
    let user = user(name);
    let digest = Digest([7; 32]);
    let session = Session {
        digest,
        public_id: PublicId(Uuid::from_u128(1)),
        user: user.id,
        created_at: START,
        authenticated_at: START,
        last_seen_at: START,
        expires_at: START.plus(IDLE),
        ends_at: START.plus(LIFETIME),
        remembered: false,
        methods: vec!["pwd".to_owned()],
        user_agent: None,
        device: None,
        first_address: None,
        last_address: None,
        data: None,
    };
    let stamps = Stripes::new().standing(&digest, user.id);
    Entry::new(session, user, Duration::ZERO, stamps)
}

/// Keeps sessions in memory.
pub(super) struct FakeStore {
    pub(super) users: Mutex<HashMap<UserId, User>>,
    pub(super) rows: Mutex<HashMap<Digest, Session>>,
    pub(super) events: Mutex<Vec<Event>>,
    /// Every touch that was to be written, in order.
    pub(super) touched: Mutex<Vec<Touch>>,
    pub(super) sweeps: Mutex<Vec<Sweep>>,
    /// Look-ups begun.
    pub(super) lookups: watch::Sender<usize>,
    /// Questions for many sessions begun.
    pub(super) batches: watch::Sender<usize>,
    /// While true, look-ups that have read their row wait with it.
    pub(super) late: watch::Sender<bool>,
    /// While true, nothing can be asked; ends and opens are carried out all the same, unheard.
    pub(super) down: watch::Sender<bool>,
    /// Called when a question for many is about to be answered.
    pub(super) answering: Mutex<Option<Box<dyn Fn() + Send>>>,
    pub(super) version: AtomicI64,
    pub(super) clock: Mutex<Timestamp>,
}

impl FakeStore {
    pub(super) fn new() -> Self {
        Self {
            users: Mutex::default(),
            rows: Mutex::default(),
            events: Mutex::default(),
            touched: Mutex::default(),
            sweeps: Mutex::default(),
            lookups: watch::Sender::new(0),
            batches: watch::Sender::new(0),
            late: watch::Sender::new(false),
            down: watch::Sender::new(false),
            answering: Mutex::default(),
            version: AtomicI64::new(1),
            clock: Mutex::new(START),
        }
    }

    pub(super) fn asked(&self) -> usize {
        *self.lookups.borrow()
    }

    /// Waits until `count` look-ups were begun.
    pub(super) async fn begun(&self, count: usize) {
        let mut lookups = self.lookups.subscribe();
        let wait = lookups.wait_for(|begun| *begun >= count);
        drop(
            tokio::time::timeout(Duration::from_secs(10), wait)
                .await
                .unwrap()
                .unwrap(),
        );
    }

    pub(super) fn is_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    pub(super) fn is_late(&self, late: bool) {
        self.late.send_replace(late);
    }

    /// Deletes behind the gateway's back.
    pub(super) fn delete(&self, digest: &Digest) {
        self.rows.lock().unwrap().remove(digest);
    }

    fn up(&self) -> Result<(), StoreError> {
        if *self.down.borrow() {
            Err(StoreError::TimedOut)
        } else {
            Ok(())
        }
    }

    fn found(&self, digest: &Digest) -> Option<Found> {
        let session = self.rows.lock().unwrap().get(digest).cloned()?;
        let user = self.users.lock().unwrap().get(&session.user).cloned()?;
        Some(Found { session, user })
    }
}

fn never<T: Send + 'static>() -> Call<'static, T> {
    Box::pin(async { Err(StoreError::NoSuchUser) })
}

impl Store for FakeStore {
    fn find_session<'a>(&'a self, digest: &'a Digest) -> Call<'a, Option<Found>> {
        Box::pin(async move {
            let found = self.found(digest);
            self.lookups.send_modify(|begun| *begun += 1);
            let mut late = self.late.subscribe();
            drop(late.wait_for(|late| !late).await.unwrap());
            self.up()?;
            Ok(found)
        })
    }

    fn find_sessions<'a>(&'a self, digests: &'a [Digest]) -> Call<'a, Vec<Found>> {
        Box::pin(async move {
            let found = digests.iter().filter_map(|digest| self.found(digest)).collect();
            self.batches.send_modify(|begun| *begun += 1);
            let mut late = self.late.subscribe();
            drop(late.wait_for(|late| !late).await.unwrap());
            if let Some(answering) = &*self.answering.lock().unwrap() {
                answering();
            }
            self.up()?;
            Ok(found)
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
            let mut rows = self.rows.lock().unwrap();
            if !self.users.lock().unwrap().contains_key(&new.session.user) {
                return Err(StoreError::NoSuchUser);
            }
            let replaced = new.replaces.and_then(|digest| rows.remove(&digest));
            rows.insert(new.session.digest, new.session);
            self.events.lock().unwrap().push(event);
            self.up()?;
            Ok(replaced.iter().map(ended).collect())
        })
    }

    fn end_sessions(&self, which: Which, event: Event) -> Call<'_, Vec<Ended>> {
        Box::pin(async move {
            let meant = |session: &Session| match which {
                Which::Digest(digest) => session.digest == digest,
                Which::Public(id) => session.public_id == id,
                Which::User(user) => session.user == user,
                Which::Others { user, keep } => session.user == user && session.digest != keep,
                Which::All => true,
            };
            let gone: Vec<_> = self
                .rows
                .lock()
                .unwrap()
                .extract_if(|_, session| meant(session))
                .collect();
            self.events.lock().unwrap().push(event);
            self.up()?;
            Ok(gone.iter().map(|(_, session)| ended(session)).collect())
        })
    }

    fn touch_sessions<'a>(&'a self, touches: &'a [Touch], apart: Duration) -> Call<'a, Vec<Touched>> {
        Box::pin(async move {
            self.up()?;
            self.touched.lock().unwrap().extend_from_slice(touches);
            let mut rows = self.rows.lock().unwrap();
            let touch = |touch: &Touch| match rows.get_mut(&touch.digest) {
                None => Touched::Over,
                Some(row) if row.is_over(touch.seen_at) || row.expires_at < touch.known_end => Touched::Over,
                Some(row) if row.last_seen_at.plus(apart) > touch.seen_at => Touched::Known,
                Some(row) => {
                    row.last_seen_at = touch.seen_at;
                    row.last_address = touch.address;
                    row.expires_at = row.expires_at.max(touch.expires_at.min(row.ends_at));
                    Touched::Written
                }
            };
            Ok(touches.iter().map(touch).collect())
        })
    }

    fn sweep_sessions(&self, _: SweepScope, now: Timestamp, limit: u32) -> Call<'_, Option<u64>> {
        Box::pin(async move {
            self.up()?;
            let mut rows = self.rows.lock().unwrap();
            let over = rows.extract_if(|_, session| session.is_over(now));
            Ok(Some(over.take(limit as usize).count() as u64))
        })
    }

    fn record_sweep(&self, sweep: Sweep) -> Call<'_, ()> {
        Box::pin(async move {
            self.sweeps.lock().unwrap().push(sweep);
            self.up()
        })
    }

    fn last_sweeps(&self, limit: u32) -> Call<'_, Vec<Sweep>> {
        Box::pin(async move {
            let sweeps = self.sweeps.lock().unwrap();
            Ok(sweeps.iter().rev().take(limit as usize).cloned().collect())
        })
    }

    fn list_sessions(&self, _: Option<UserId>, _: Option<PublicId>, _: u32) -> Call<'_, Vec<Found>> {
        never()
    }

    fn find_session_by_public_id(&self, id: PublicId) -> Call<'_, Option<Found>> {
        Box::pin(async move {
            self.up()?;
            let digest = self
                .rows
                .lock()
                .unwrap()
                .values()
                .find(|row| row.public_id == id)
                .map(|row| row.digest);
            Ok(digest.and_then(|digest| self.found(&digest)))
        })
    }

    fn add_user(&self, _: NewUser, _: Event) -> Call<'_, ()> {
        never()
    }

    fn find_credentials<'a>(&'a self, _: &'a str) -> Call<'a, Option<Credentials>> {
        never()
    }

    fn add_users(&self, _: Vec<(NewUser, Event)>, _: bool) -> Call<'_, Vec<Added>> {
        never()
    }
    fn replace_password(&self, _: UserId, _: SecretString, _: SecretString, _: Event) -> Call<'_, bool> {
        never()
    }
    fn change_password(&self, _: NewSession, _: PasswordChange, _: Event) -> Call<'_, Option<Vec<Ended>>> {
        never()
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

    fn record(&self, event: Event) -> Call<'_, ()> {
        Box::pin(async move {
            self.events.lock().unwrap().push(event);
            Ok(())
        })
    }

    fn list_events(&self, _: Option<UserId>, _: u32) -> Call<'_, Vec<RecordedEvent>> {
        never()
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
        Box::pin(async {
            self.up()?;
            Ok(*self.clock.lock().unwrap())
        })
    }

    fn data_version(&self) -> Call<'_, Option<i64>> {
        Box::pin(async {
            self.up()?;
            Ok(Some(self.version.load(SeqCst)))
        })
    }

    fn count(&self, _: Timestamp) -> Call<'_, Counts> {
        never()
    }

    fn migrate(&self, _: bool) -> Call<'_, Vec<String>> {
        never()
    }

    fn description(&self) -> String {
        "fake".to_owned()
    }

    fn close(&self) -> Call<'_, ()> {
        never()
    }
}

fn ended(session: &Session) -> Ended {
    Ended {
        digest: session.digest,
        public_id: session.public_id,
        user: session.user,
    }
}

/// A source that reads nothing.
pub(super) fn source(name: &str, mapping: super::source::Mapping) -> super::source::SourceSettings {
    super::source::SourceSettings {
        name: name.to_owned(),
        hosts: vec!["app.example.test".to_owned()],
        table: crate::store::LegacySettings {
            url: "postgres://reader@localhost/crm".to_owned().into(),
            table: mapping.table.clone(),
            key: mapping.key.clone(),
            payload: None,
            verify: None,
            columns: Vec::new(),
            expiry: mapping.expiry.clone(),
            zone: mapping.zone.clone(),
            users: None,
            payload_paths: None,
            may_touch: false,
            may_end: false,
            adding: crate::store::Adding::default(),
            max_connections: 1,
            call_timeout: Duration::from_secs(2),
            prepared_statements: true,
        },
        mapping,
        secrets: Arc::default(),
        user_map: std::collections::BTreeMap::new(),
        group_map: std::collections::BTreeMap::new(),
        logout_paths: Vec::new(),
        max_age: Duration::from_secs(5),
        open: None,
        moved: false,
    }
}
