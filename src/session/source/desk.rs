//! An application's sessions for people: looked at, and ended.

use super::Lookups;
use super::SourceSettings;
use super::facts;
use super::facts::Row;
use super::lookups::session;
use super::lookups::user_id;
use super::payload::PayloadFormat;
use crate::clock::Clock;
use crate::model::Event;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::store::Found;
use crate::store::Listed;
use crate::store::ListedRow;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::Tombstone;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Rows of one question.
const PAGE: u32 = 500;
/// Most rows that are looked through for one answer.
const MOST_ROWS: usize = 20_000;
/// The most that one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rows of users asked for, or rows deleted, at once.
const TOGETHER: usize = 4;
/// How long an ended key is remembered at least, and at most. A row that comes back lives as long as the application says
/// then, which may be longer than it had left; and no browser keeps a cookie for more than 400 days.
const LEAST_KEPT: Duration = Duration::from_hours(30 * 24);
const MOST_KEPT: Duration = Duration::from_hours(400 * 24);

/// A live session of an application. Its key is known to nobody but this room.
pub struct TheirSession {
    /// The session and its user, as far as the row says: not when it was opened or last seen.
    pub found: Found,
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
    /// The source may not write.
    #[error("sessions of this application are not ended here: its source has no `end = true`")]
    MayNot,
}

/// One application's sessions, for a command or an operator.
pub struct SourceDesk {
    lookups: Arc<Lookups>,
}

impl SourceDesk {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The URL of its database cannot be used.
    pub fn new(settings: &SourceSettings, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self::over(Arc::new(Lookups::new(settings.clone(), clock)?)))
    }

    pub(in super::super) fn over(lookups: Arc<Lookups>) -> Self {
        Self { lookups }
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
    /// called `source:subject`, or of all. Looks at every row; ends within twenty seconds.
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
            let known = futures_util::stream::iter(rows)
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
        // Who is a user of ours by `user_map` has another name than the rows say.
        let is_theirs = |subject: &&String| user_id(&settings.name, subject) == user.id;
        let mapped = settings.user_map.keys().find(is_theirs);
        let principal = mapped.map(|subject| facts::principal(&settings.name, subject));
        let name = principal.as_ref().unwrap_or(&user.username);
        self.all_of(name.as_str(), now).await
    }

    /// The live session with this public id. Looks at every row; ends within ten seconds.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn show(&self, id: PublicId, now: Timestamp) -> Result<Option<TheirSession>, StoreError> {
        let label = self.lookups.settings().label();
        match self.lookups.table().show(*id.0.as_bytes(), &label).await? {
            Some(row) => self.known(row, None, now).await,
            None => Ok(None),
        }
    }

    /// The session that a request of a moment ago named, by the digest of its entry.
    pub(in super::super) async fn at_hand(&self, found: Found, now: Timestamp) -> Option<TheirSession> {
        let key = self.lookups.key(&found.session.digest).await?.text;
        Some(TheirSession {
            hash: super::hash_of(&key),
            left: found.session.ends_at.since(now),
            found,
            key,
        })
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
                columns: row.columns.clone(),
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
            left,
            key,
            hash,
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
    pub async fn end(&self, store: &dyn Store, sessions: &[TheirSession], event: Event) -> Result<(), EndError> {
        if !self.may_end() {
            return Err(EndError::MayNot);
        }
        if sessions.is_empty() {
            return Ok(());
        }
        let now = store.now().await.map_err(EndError::NotStored)?;
        let tombstones: Vec<Tombstone> = sessions.iter().map(|one| self.tombstone(one, now)).collect();
        store.bury(&tombstones, event).await.map_err(EndError::NotStored)?;
        for one in &tombstones {
            self.lookups.is_ended(one.digest).await;
        }
        let keys: Vec<String> = sessions.iter().map(|one| one.key.clone()).collect();
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

    fn tombstone(&self, one: &TheirSession, now: Timestamp) -> Tombstone {
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

    /// By what its row is known, for tombstones and caches.
    pub(in super::super) fn row(&self, settings: &SourceSettings) -> crate::model::Digest {
        settings.row(&self.hash)
    }

    pub(in super::super) fn key(&self) -> &str {
        &self.key
    }
}
