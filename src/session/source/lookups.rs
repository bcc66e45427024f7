use super::SourceSettings;
use super::ended;
use super::ended::Ends;
use super::facts;
use super::facts::Row;
use super::payload;
use super::payload::PayloadError;
use super::remembered;
use super::steps::Key;
use crate::clock::Clock;
use crate::model::Digest;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use crate::session::feed::Lost;
use crate::session::moment::DatabaseTime;
use crate::store::Found;
use crate::store::LegacyFeed;
use crate::store::LegacyRow;
use crate::store::LegacyTable;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Trigger;
use crate::telemetry::Metrics;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use futures_util::StreamExt;
use futures_util::TryStreamExt;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Rows asked for at once for open streams.
const TOGETHER: usize = 4;
/// Between two lines of the log about rows that cannot be read.
const LOG_APART: Duration = Duration::from_mins(1);

/// Why a row is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// What the application wrote cannot be read.
    Unreadable(PayloadError),
    /// It names no user, or one who is not signed in by it yet.
    Visitor,
    /// The application's users' table does not have the user any more, or not as active.
    Inactive,
}

/// Asks one application's tables.
pub(crate) struct Lookups {
    pub(super) settings: SourceSettings,
    name: Arc<str>,
    pub(super) table: LegacyTable,
    feed: LegacyFeed,
    /// The time of the application's database, for its feed.
    time: DatabaseTime,
    /// Where users of ours are, whom some of the application's are.
    natives: Option<Arc<dyn Store>>,
    pub(super) keys: moka::future::Cache<Digest, Key>,
    pub(super) ends: Ends,
    clock: Clock,
    /// Rows of ended sessions that came back and were deleted again.
    pub(super) brought_back: Counter,
    /// How many rows may be looked after at once.
    pub(super) care: Arc<Semaphore>,
    /// Rows that could not be read, since the last line of the log.
    unread: AtomicU64,
    /// The same since the start, and groups that could not stand in a list.
    unread_rows: Counter,
    dropped_groups: Counter,
    /// When the log was told, in milliseconds; zero for never.
    told: AtomicU64,
}

impl Lookups {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: SourceSettings, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self {
            table: LegacyTable::new(settings.table.clone(), clock.clone())?,
            feed: LegacyFeed::new(settings.table.clone(), clock.clone())?,
            time: DatabaseTime::new(clock.clone()),
            name: settings.name.as_str().into(),
            natives: None,
            settings,
            keys: remembered::latest_keys(),
            ends: Ends::new(),
            clock,
            brought_back: Counter::default(),
            care: Arc::new(Semaphore::new(ended::MOST_CARED_FOR)),
            unread: AtomicU64::new(0),
            unread_rows: Counter::default(),
            dropped_groups: Counter::default(),
            told: AtomicU64::new(0),
        })
    }

    /// Counts what cannot be taken where operators see it.
    pub(crate) fn counting(mut self, metrics: &Metrics) -> Self {
        self.brought_back = metrics.rows_returned(&self.settings.name);
        self.unread_rows = metrics.source_fault(&self.settings.name, "row");
        self.dropped_groups = metrics.source_fault(&self.settings.name, "group");
        self
    }

    /// The same, asking `store` for users of ours.
    pub(crate) fn knowing(mut self, store: Arc<dyn Store>) -> Self {
        self.natives = Some(store);
        self
    }

    pub(crate) fn table(&self) -> &LegacyTable {
        &self.table
    }

    /// What its database tells.
    pub(crate) fn feed(&self) -> &LegacyFeed {
        &self.feed
    }

    pub(crate) fn feed_time(&self) -> &DatabaseTime {
        &self.time
    }

    /// Reads the clock of its database; half of the time that it took is counted as the way back.
    pub(crate) async fn read_time(&self) {
        let asked = self.clock.elapsed();
        if let Ok(now) = self.feed.now().await {
            let took = self.clock.elapsed().saturating_sub(asked);
            self.time.set(now, asked.saturating_add(took / 2));
        }
    }

    /// Whether what happens to its rows is told.
    pub(crate) async fn is_told(&self) -> Result<(), Lost> {
        match self.feed.trigger().await {
            Ok(Trigger::Current) => Ok(()),
            Ok(Trigger::Absent) => Err(Lost::NoTrigger),
            Ok(Trigger::Other) => Err(Lost::OtherTrigger),
            Ok(Trigger::Impossible) => Err(Lost::Impossible),
            Err(error) => Err(Lost::Unasked(error)),
        }
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Whether `name` is the very one that these gave to what they found, and not only the same word.
    pub(crate) fn are_called(&self, name: &Arc<str>) -> bool {
        Arc::ptr_eq(&self.name, name)
    }

    pub(crate) fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// To be called before the row of this key is asked for by its digest.
    pub(crate) async fn remember(&self, digest: Digest, key: Key) {
        self.keys.insert(digest, key).await;
    }

    /// The key of a digest that was asked for in the last hour.
    pub(super) async fn key(&self, digest: &Digest) -> Option<Key> {
        self.keys.get(digest).await
    }

    /// The row with this digest and its user, live at `now` or not at all.
    pub(crate) async fn find(&self, digest: Digest, now: Timestamp) -> Result<Option<Found>, StoreError> {
        // A key that was forgotten is no row that is gone.
        let key = self.keys.get(&digest).await.ok_or(StoreError::TimedOut)?;
        let Some(row) = self.table.find(&key.text).await? else {
            return Ok(None);
        };
        if row.left.is_zero() || !holds_secret(&key, &row) {
            return Ok(None);
        }
        let left = row.left;
        let lifetime = self.lifetime(row.payload.as_deref());
        let row_digest = self.settings.row_of(&key.text);
        Ok(self.user_of(row).await?.map(|user| {
            let mut session = session(digest, &row_digest, &user, now, left);
            if let Some(lifetime) = lifetime {
                // Where activity moves the end, the time of the last follows from it.
                session.last_seen_at = session.expires_at.minus(lifetime);
            }
            Found { session, user }
        }))
    }

    /// The same for many.
    pub(crate) async fn find_many(&self, digests: &[Digest], now: Timestamp) -> Result<Vec<Found>, StoreError> {
        let each = futures_util::stream::iter(digests.to_vec()).map(|digest| self.find(digest, now));
        let found: Vec<Option<Found>> = each.buffered(TOGETHER).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Who is signed in by this row; `None` for nobody.
    pub(super) async fn user_of(&self, row: LegacyRow) -> Result<Option<User>, StoreError> {
        match self.holder_of(row).await? {
            Ok((subject, row)) => self.known(&subject, self.user(&subject, &row)).await,
            Err(Nobody::Unreadable(error)) => {
                self.could_not_read(error);
                Ok(None)
            }
            Err(Nobody::Visitor | Nobody::Inactive) => Ok(None),
        }
    }

    /// Whose the row is in the application, with all that it says; or why it is nobody's.
    pub(super) async fn holder_of(&self, row: LegacyRow) -> Result<Result<(String, Row), Nobody>, StoreError> {
        let mapping = &self.settings.mapping;
        let payload = match self.settings.payload(row.payload.as_deref()) {
            Ok(payload) => payload,
            Err(error) => return Ok(Err(Nobody::Unreadable(error))),
        };
        let Some(columns) = row.columns else {
            return Ok(Err(Nobody::Unreadable(PayloadError::Format)));
        };
        let mut row = Row {
            columns,
            payload,
            ..Row::default()
        };
        let Some(subject) = facts::subject(mapping, &row) else {
            return Ok(Err(Nobody::Visitor));
        };
        if let Some(users) = &mapping.users {
            let Some(found) = self.table.find_user(&subject).await? else {
                return Ok(Err(Nobody::Inactive));
            };
            row.user = found;
            let is_active = |column: &String| row.user.get(column) == Some(&Value::Bool(true));
            if !users.active.as_ref().is_none_or(is_active) || !self.password_is_the_same(&row) {
                return Ok(Err(Nobody::Inactive));
            }
        }
        Ok(Ok((subject, row)))
    }

    /// Who is one of ours by `user_map` is that user in everything: with their key, address, name and groups, and nobody
    /// once they are disabled. The groups that the application says come on top. A name that nobody here has is only a name.
    async fn known(&self, subject: &str, told: User) -> Result<Option<User>, StoreError> {
        let (Some(store), true) = (&self.natives, self.settings.user_map.contains_key(subject)) else {
            return Ok(Some(told));
        };
        let Some(mut ours) = store.find_user(&told.username).await? else {
            return Ok(Some(told));
        };
        if ours.state != UserState::Active {
            return Ok(None);
        }
        ours.groups.extend(told.groups);
        ours.groups.sort_unstable();
        ours.groups.dedup();
        Ok(Some(ours))
    }

    /// Django ends a session whose user changed the password; the row stays.
    fn password_is_the_same(&self, row: &Row) -> bool {
        let users = self.settings.mapping.users.as_ref();
        let Some(column) = users.and_then(|users| users.password.as_ref()) else {
            return true;
        };
        let said = row.payload.pointer("/_auth_user_hash").and_then(Value::as_str);
        let password = row.user.get(column).and_then(Value::as_str);
        match (said, password) {
            (Some(said), Some(password)) => payload::django_auth_hash_holds(said, password, &self.settings.secrets),
            _ => false,
        }
    }

    pub(super) fn user(&self, subject: &str, row: &Row) -> User {
        let settings = &self.settings;
        let principal = facts::principal(&settings.name, subject);
        let mapped = settings
            .user_map
            .get(subject)
            .and_then(|name| Username::parse(name).ok());
        let (groups, dropped) = facts::groups(&settings.mapping, row);
        self.dropped_groups.inc_by(dropped as u64);
        let mut groups: Vec<String> = groups
            .into_iter()
            .map(|group| match settings.group_map.get(&group) {
                Some(ours) => ours.clone(),
                None => format!("{}:{group}", settings.name),
            })
            .collect();
        groups.sort_unstable();
        groups.dedup();
        let email = facts::email(&settings.mapping, row);
        User {
            id: user_id(&settings.name, subject),
            username: mapped.unwrap_or(principal),
            email_verified: email.is_some(),
            email,
            name: facts::name(&settings.mapping, row),
            groups,
            state: UserState::Active,
            created_at: Timestamp::from_micros(0),
            app_users: BTreeMap::new(),
        }
    }

    fn could_not_read(&self, error: PayloadError) {
        self.unread_rows.inc();
        let unread = self.unread.fetch_add(1, Relaxed) + 1;
        let now = u64::try_from(self.clock.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        let told = self.told.load(Relaxed);
        let apart = u64::try_from(LOG_APART.as_millis()).unwrap_or(u64::MAX);
        let due = told == 0 || now >= told.saturating_add(apart);
        if due && self.told.compare_exchange(told, now, Relaxed, Relaxed).is_ok() {
            self.unread.store(0, Relaxed);
            tracing::warn!(
                source.name = self.settings.name,
                source.rows = unread,
                error = &error as &dyn std::error::Error,
                "sessions of an application cannot be read; whoever has them counts as not signed in"
            );
        }
    }
}

/// Compared in constant time: the column is a hash of a part of the cookie, as bytes or in hexadecimal.
pub(super) fn holds_secret(key: &Key, row: &LegacyRow) -> bool {
    match (&key.verify, &row.verify) {
        (None, _) => true,
        (Some((_, expected)), Some(stored)) if stored.len() == expected.len() => {
            verify_slices_are_equal(expected, stored).is_ok()
        }
        (Some((_, expected)), Some(stored)) => {
            verify_slices_are_equal(hex::encode(expected).as_bytes(), stored).is_ok()
        }
        (Some(_), None) => false,
    }
}

/// What the rest of the gateway knows of a row: its end, and whose it is. When its user last proved who they are is not
/// known, so no rule that asks for it is met.
pub(super) fn session(digest: Digest, row: &Digest, user: &User, now: Timestamp, left: Duration) -> Session {
    let end = now.plus(left);
    Session {
        digest,
        public_id: public_id(row),
        user: user.id,
        created_at: now,
        authenticated_at: Timestamp::from_micros(0),
        last_seen_at: now,
        expires_at: end,
        ends_at: end,
        remembered: false,
        methods: Vec::new(),
        user_agent: None,
        device: None,
        first_address: None,
        last_address: None,
        data: None,
    }
}

/// By what people know the session of this row.
pub(super) fn public_id(row: &Digest) -> PublicId {
    PublicId(named_uuid(&["session", &hex::encode(row.0)]))
}

/// The key of a user of an application.
pub(super) fn user_id(source: &str, subject: &str) -> UserId {
    UserId(named_uuid(&["user", source, subject]))
}

/// A name-based UUID (RFC 9562, 5.8): the same on every instance, and none that a user or session of ours could have,
/// which are of version 7.
pub(super) fn named_uuid(parts: &[&str]) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part.as_bytes());
        context.update(b"\0");
    }
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
