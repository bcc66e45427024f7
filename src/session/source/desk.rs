//! An application's sessions for people: looked at, and ended.

use super::Lookups;
use super::SourceSettings;
use super::facts;
use super::facts::Row;
use super::lookups::public_id;
use super::lookups::session;
use super::payload::PayloadFormat;
use crate::clock::Clock;
use crate::model::Digest;
use crate::model::Event;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::Username;
use crate::store::Found;
use crate::store::Listed;
use crate::store::ListedRow;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Tombstone;
use futures_util::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Rows of one question.
const PAGE: u32 = 500;
/// Most rows that are looked through for one answer.
const MOST_ROWS: usize = 20_000;
/// The most that one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rows of users asked for, or rows deleted, at once.
pub(super) const TOGETHER: usize = 4;
/// How long an ended key is remembered at least, and at most. A row that comes back lives as long as the application says
/// then, which may be longer than it had left; and no browser keeps a cookie for more than 400 days.
const LEAST_KEPT: Duration = Duration::from_hours(30 * 24);
const MOST_KEPT: Duration = Duration::from_hours(400 * 24);

/// A live session of an application. Its key is known to nobody but this room.
pub struct TheirSession {
    /// The session and its user, as far as the row says: not when it was opened or last seen.
    pub found: Found,
    row: KnownRow,
}

/// A row of an application's by its key.
pub(in super::super) struct KnownRow {
    /// How long it is live.
    left: Duration,
    key: String,
    hash: [u8; 32],
}

/// Some of an application's sessions.
pub struct TheirSessions {
    /// Those that name somebody.
    pub items: Vec<TheirSession>,
    /// Where the list goes on, when there may be more.
    pub next: Option<[u8; 32]>,
}

/// Why sessions of an application were not ended, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// Our own store did not write it down: nothing was done.
    #[error("nothing was ended, because the store did not write it down")]
    NotStored(#[source] StoreError),
    /// It was written down, so that the sessions are refused here from now on, but the application's rows stand.
    #[error("refused here from now on, but the application's database did not delete the rows of its sessions")]
    RowsStand(#[source] StoreError),
    /// The application's sessions could not be looked at, so that not all of them were ended.
    #[error("the application's sessions could not be read, so not all of them were ended")]
    Unread(#[source] StoreError),
    /// The source may not write.
    #[error("sessions of this application are not ended here: its source has no `end = true`")]
    MayNot,
}

/// One application's sessions, for a command or an operator.
pub struct SourceDesk {
    lookups: Arc<Lookups>,
    /// Our own, which knows what was ended here.
    store: Arc<dyn Store>,
}

impl SourceDesk {
    /// Connects to nothing yet. `store` is our own.
    ///
    /// # Errors
    /// The URL of its database cannot be used.
    pub fn new(settings: &SourceSettings, clock: Clock, store: Arc<dyn Store>) -> Result<Self, StoreError> {
        Ok(Self::over(Arc::new(Lookups::new(settings.clone(), clock)?), store))
    }

    pub(in super::super) fn over(lookups: Arc<Lookups>, store: Arc<dyn Store>) -> Self {
        Self { lookups, store }
    }

    pub(super) fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The source's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.lookups.settings().name
    }

    /// Whether sessions may be ended.
    #[must_use]
    pub fn may_end(&self) -> bool {
        self.lookups.settings().table.may_end
    }

    /// Live sessions that name somebody, in an order of their own, after `after`, at most `limit`; of one user, who is
    /// called `source:subject`, or of all. Looks at every row; ends within twenty seconds. A row that was ended here and
    /// came back is no session; it is deleted again.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn list(
        &self,
        user: Option<&str>,
        after: Option<[u8; 32]>,
        limit: usize,
        now: Timestamp,
    ) -> Result<TheirSessions, StoreError> {
        let list = self.list_unbounded(user, after, limit, now);
        tokio::time::timeout(PATIENCE, list)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }

    async fn list_unbounded(
        &self,
        user: Option<&str>,
        mut after: Option<[u8; 32]>,
        limit: usize,
        now: Timestamp,
    ) -> Result<TheirSessions, StoreError> {
        let subject = user.and_then(|user| self.plain_subject(user));
        let which = subject.map_or(Listed::All, Listed::Of);
        let mut items: Vec<TheirSession> = Vec::new();
        for _ in 0..MOST_ROWS.div_ceil(PAGE as usize) {
            let rows = self.lookups.table().list(which, after, PAGE).await?;
            let is_last = rows.len() < PAGE as usize;
            let end_of_page = rows.last().map(|row| row.hash);
            let known = futures_util::stream::iter(self.not_ended(rows).await?)
                .map(|row| async move { (row.hash, self.known(row, user, now).await) })
                .buffered(TOGETHER);
            let mut known = std::pin::pin!(known);
            while let Some((hash, session)) = known.next().await {
                if items.len() == limit {
                    return Ok(TheirSessions { items, next: after });
                }
                items.extend(session?);
                after = Some(hash);
            }
            after = end_of_page.or(after);
            if is_last {
                return Ok(TheirSessions { items, next: None });
            }
        }
        Ok(TheirSessions { items, next: after })
    }

    /// Every live session of this user.
    ///
    /// # Errors
    /// Could not ask, or not look through all rows in time.
    pub async fn all_of(&self, user: &str, now: Timestamp) -> Result<Vec<TheirSession>, StoreError> {
        let found = self.list(Some(user), None, MOST_ROWS, now).await?;
        // Some would be left, and nobody could say which.
        found.next.map_or(Ok(found.items), |_| Err(StoreError::TimedOut))
    }

    /// Every live session of the user whom one of its sessions named.
    ///
    /// # Errors
    /// As [`SourceDesk::all_of`].
    pub(in super::super) async fn all_of_same(
        &self,
        user: &User,
        now: Timestamp,
    ) -> Result<Vec<TheirSession>, StoreError> {
        let settings = self.lookups.settings();
        // Who is a user of ours by `user_map` has another name than the rows say, or several.
        let is_theirs = |name: &String| Username::parse(name).is_ok_and(|name| name == user.username);
        let mapped = settings.user_map.iter().filter(|(_, name)| is_theirs(name));
        let mut names: Vec<Username> = mapped
            .map(|(subject, _)| facts::principal(&settings.name, subject))
            .collect();
        if names.is_empty() {
            names.push(user.username.clone());
        }
        let mut all = Vec::new();
        for name in names {
            all.append(&mut self.all_of(name.as_str(), now).await?);
        }
        Ok(all)
    }

    /// The live session with this public id. Looks at every row; ends within ten seconds.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn show(&self, id: PublicId, now: Timestamp) -> Result<Option<TheirSession>, StoreError> {
        let label = self.lookups.settings().label();
        let found = self.lookups.table().show(*id.0.as_bytes(), &label).await?;
        match self.not_ended(found.into_iter().collect()).await?.pop() {
            Some(row) => self.known(row, None, now).await,
            None => Ok(None),
        }
    }

    /// Those of `rows` that were not ended here. The others are deleted again, as on the way of a request.
    async fn not_ended(&self, rows: Vec<ListedRow>) -> Result<Vec<ListedRow>, StoreError> {
        let settings = self.lookups.settings();
        if rows.is_empty() || !settings.table.are_ended() {
            return Ok(rows);
        }
        let digests: Vec<Digest> = rows.iter().map(|row| settings.row(&row.hash)).collect();
        let ended: HashSet<Digest> = self.store.find_tombstones(&digests).await?.into_iter().collect();
        let (back, live): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| ended.contains(&settings.row(&row.hash)));
        let delete = |row: ListedRow| async move {
            self.lookups.is_ended(settings.row(&row.hash)).await;
            self.lookups.delete_again(&row.key).await;
        };
        futures_util::stream::iter(back)
            .for_each_concurrent(TOGETHER, delete)
            .await;
        Ok(live)
    }

    /// The session that a request of a moment ago named, by the digest of its entry.
    pub(in super::super) async fn at_hand(&self, found: Found, now: Timestamp) -> Option<TheirSession> {
        let key = self.lookups.key(&found.session.digest).await?.text;
        let row = KnownRow::new(key, found.session.ends_at.since(now));
        Some(TheirSession { found, row })
    }

    /// The row with this key, live or over and whoever it names, and the name of its user where it names one.
    pub(in super::super) async fn row_of(
        &self,
        key: String,
    ) -> Result<Option<(KnownRow, Option<Username>)>, StoreError> {
        let Some(row) = self.lookups.table().find(&key).await? else {
            return Ok(None);
        };
        let left = row.left;
        let holder = self.lookups.holder_of(row).await?.ok();
        let name = holder.map(|(subject, _)| facts::principal(self.name(), &subject));
        Ok(Some((KnownRow::new(key, left), name)))
    }

    /// What a row is, when it names somebody, or `user`.
    async fn known(
        &self,
        keyed: ListedRow,
        user: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<TheirSession>, StoreError> {
        let ListedRow { key, hash, row } = keyed;
        let left = row.left;
        let settings = self.lookups.settings();
        if let Some(user) = user {
            let Ok(payload) = settings.payload(row.payload.as_deref()) else {
                return Ok(None);
            };
            let facts = Row {
                columns: row.columns.clone().unwrap_or_default(),
                payload,
                ..Row::default()
            };
            let subject = facts::subject(&settings.mapping, &facts);
            if subject.is_none_or(|subject| facts::principal(&settings.name, &subject).as_str() != user) {
                return Ok(None);
            }
        }
        let digest = settings.row(&hash);
        Ok(self.lookups.user_of(row).await?.map(|user| TheirSession {
            found: Found {
                session: session(digest, &digest, &user, now, left),
                user,
            },
            row: KnownRow { left, key, hash },
        }))
    }

    /// The subject of `source:subject` where it stands in a payload as it is; else every row must be read.
    fn plain_subject<'a>(&self, user: &'a str) -> Option<&'a str> {
        let (_, subject) = user.split_once(':')?;
        let mapping = &self.lookups.settings().mapping;
        let is_text = mapping
            .payload
            .as_ref()
            .is_none_or(|(_, format)| *format == PayloadFormat::Json);
        let is_plain = subject
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte));
        (is_text && is_plain && !subject.is_empty()).then_some(subject)
    }

    /// Ends sessions: writes down that they are over, with `event`, and deletes their rows. When it returns, no gateway
    /// believes them any more that is told of changes.
    ///
    /// # Errors
    /// See [`EndError`].
    pub async fn end(&self, sessions: &[TheirSession], event: Event) -> Result<(), EndError> {
        if !self.may_end() {
            return Err(EndError::MayNot);
        }
        let rows: Vec<&KnownRow> = sessions.iter().map(TheirSession::row).collect();
        self.end_rows(&rows, event).await
    }

    /// The same, whoever may end sessions.
    pub(in super::super) async fn end_rows(&self, rows: &[&KnownRow], event: Event) -> Result<(), EndError> {
        if rows.is_empty() {
            return Ok(());
        }
        let now = self.store.now().await.map_err(EndError::NotStored)?;
        let event = Event {
            source: Some(self.name().to_owned()),
            ..event
        };
        let tombstones: Vec<Tombstone> = rows.iter().map(|one| self.tombstone(one, now)).collect();
        self.store.bury(&tombstones, event).await.map_err(EndError::NotStored)?;
        for one in &tombstones {
            self.lookups.is_ended(one.digest).await;
        }
        let keys: Vec<String> = rows.iter().map(|one| one.key.clone()).collect();
        let mut deleted = futures_util::stream::iter(keys)
            .map(|key| {
                let lookups = Arc::clone(&self.lookups);
                async move { lookups.table().end(&key).await }
            })
            .buffered(TOGETHER);
        let mut failed = None;
        while let Some(outcome) = deleted.next().await {
            failed = outcome.err().or(failed);
        }
        failed.map_or(Ok(()), |error| Err(EndError::RowsStand(error)))
    }

    fn tombstone(&self, one: &KnownRow, now: Timestamp) -> Tombstone {
        Tombstone {
            digest: self.lookups.settings().row(&one.hash),
            source: self.name().to_owned(),
            ended_at: now,
            until: now.plus(one.left.clamp(LEAST_KEPT, MOST_KEPT)),
        }
    }
}

impl TheirSession {
    /// `event` with what is known of this session: whose it is, in as many bytes as an event has room for.
    #[must_use]
    pub fn told(&self, event: Event) -> Event {
        let name = self.found.user.username.as_str();
        Event {
            username: Some(name[..name.floor_char_boundary(64)].to_owned()),
            session: Some(self.found.session.public_id),
            ..event
        }
    }

    pub(in super::super) const fn row(&self) -> &KnownRow {
        &self.row
    }
}

impl KnownRow {
    pub(super) fn new(key: String, left: Duration) -> Self {
        Self {
            hash: super::hash_of(&key),
            left,
            key,
        }
    }

    /// By what it is known, for tombstones and caches.
    pub(in super::super) fn digest(&self, settings: &SourceSettings) -> Digest {
        settings.row(&self.hash)
    }

    /// By what people know it.
    pub(in super::super) fn public_id(&self, settings: &SourceSettings) -> PublicId {
        public_id(&self.digest(settings))
    }

    pub(in super::super) fn key(&self) -> &str {
        &self.key
    }
}
