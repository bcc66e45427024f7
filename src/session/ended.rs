//! Sessions of applications that were ended here. A row may come back (an application that had read it saves it again), so
//! an end is a line in our own store, and what stands there is never believed.

use super::EndError;
use super::Entry;
use super::Live;
use super::SessionError;
use super::Sessions;
use super::StreamEnd;
use super::cache::Cache;
use super::legacy::Legacy;
use super::source::Key;
use super::source::KnownRow;
use super::source::Lookups;
use super::source::SourceDesk;
use super::source::TheirSession;
use super::source::TheirSessions;
use crate::model::Digest;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::store::Found;
use crate::store::StoreError;
use std::sync::Arc;

/// Most bytes of a name in an audit event. Names are ASCII.
const MOST_NAME: usize = 64;

/// What is known of a session by the time that its application's answer is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedMeanwhile {
    /// As far as is known, it lives.
    No,
    /// It was ended: the answer must not give its browser a session.
    Yes,
}

impl Cache {
    /// The row with this digest and its user, unless it was ended here; both are asked at once.
    pub(super) async fn find_theirs(
        &self,
        lookups: &Lookups,
        digest: Digest,
        now: Timestamp,
    ) -> Result<Option<Found>, StoreError> {
        if !lookups.settings().table.are_ended() {
            return lookups.find(digest, now).await;
        }
        let digests = [digest];
        let (found, ended) = tokio::join!(lookups.find(digest, now), lookups.ended_of(&*self.store, &digests));
        if ended?.is_empty() { found } else { Ok(None) }
    }

    /// The same for many.
    pub(super) async fn find_many_theirs(
        &self,
        lookups: &Lookups,
        digests: &[Digest],
        now: Timestamp,
    ) -> Result<Vec<Found>, StoreError> {
        if !lookups.settings().table.are_ended() {
            return lookups.find_many(digests, now).await;
        }
        let ended = lookups.ended_of(&*self.store, digests).await?;
        let others: Vec<Digest> = digests
            .iter()
            .filter(|digest| !ended.contains(digest))
            .copied()
            .collect();
        lookups.find_many(&others, now).await
    }

    /// Whether ends by other instances are seen as they happen.
    pub(super) fn hears_ends(&self) -> bool {
        let elder = self.elder.as_deref().unwrap_or(self);
        elder.is_told(elder.time.elapsed())
    }

    /// Whether what an answer is kept by is more than its row's key.
    pub(super) fn has_row_secrets(&self) -> bool {
        let lookups = self.lookups.as_ref();
        lookups.is_some_and(|lookups| lookups.settings().table.verify.is_some())
    }

    /// The row of an application was ended, which is known for sure.
    fn row_is_over(&self, row: &Digest, why: StreamEnd) {
        self.is_over(row, why);
        if self.has_row_secrets() {
            self.streams.doubt_all();
        }
    }

    /// All streams are judged anew, those of applications' sessions that are told of by this cache included.
    pub(super) fn doubt_streams(&self) {
        self.streams.doubt_all();
        for cache in self.companions() {
            cache.streams.doubt_all();
        }
    }
}

impl Legacy {
    pub(super) fn their_desk(&self) -> Option<SourceDesk> {
        let (cache, lookups) = self.desk()?;
        Some(SourceDesk::over(Arc::clone(lookups), Arc::clone(&cache.store)))
    }

    /// Ends sessions where that is allowed, and forgets them in this process, whatever became of their rows.
    async fn end(&self, sessions: &[TheirSession], event: Event) -> Result<(), SessionError> {
        if !self.settings().table.may_end {
            return Err(EndError::MayNot.into());
        }
        let rows: Vec<&KnownRow> = sessions.iter().map(TheirSession::row).collect();
        self.end_rows(&rows, event).await
    }

    /// Ends the session with this key, whoever it names, so that no request under way brings it back: its browser goes on
    /// with another one or with none. What is said of it stands in `event`.
    pub(super) async fn leave(&self, key: Key, event: Event) -> Result<(), SessionError> {
        let (Some(cache), Some(desk)) = (self.cache(), self.their_desk()) else {
            return Err(SessionError::NoSource);
        };
        let Some((row, name)) = desk.row_of(key.text.clone()).await? else {
            cache.forget_row(&self.settings().row_of(&key.text));
            return Ok(());
        };
        let name = name.map(|name| name.as_str().chars().take(MOST_NAME).collect());
        let event = Event {
            username: name,
            session: Some(row.public_id(self.settings())),
            ..event
        };
        self.end_rows(&[&row], event).await
    }

    async fn end_rows(&self, rows: &[&KnownRow], event: Event) -> Result<(), SessionError> {
        let desk = self.their_desk().ok_or(SessionError::NoSource)?;
        let why = Self::why(event.kind);
        let outcome = desk.end_rows(rows, event).await;
        let known = !matches!(outcome, Err(EndError::NotStored(_) | EndError::MayNot));
        self.forget_ended(rows, known, why);
        Ok(outcome?)
    }

    pub(super) const fn why(kind: EventKind) -> StreamEnd {
        match kind {
            EventKind::LoggedOut => StreamEnd::LoggedOut,
            _ => StreamEnd::Ended,
        }
    }

    /// Forgets rows that were to be ended; whether they were may not be known.
    pub(super) fn forget_ended(&self, rows: &[&KnownRow], known: bool, why: StreamEnd) {
        let Some((cache, lookups)) = self.desk() else { return };
        for one in rows {
            let row = one.digest(self.settings());
            if known {
                cache.row_is_over(&row, why);
                lookups.look_after(&cache.control, one.key().to_owned());
            } else {
                // What may be ended is not believed.
                cache.forget_row(&row);
            }
        }
    }
}

impl Sessions {
    /// Whether sessions of this source may be ended here.
    #[must_use]
    pub fn may_end(&self, source: &str) -> bool {
        self.source(source)
            .is_some_and(|source| source.settings().table.may_end)
    }

    /// Whether a log-in here is one in this source's application, too.
    #[must_use]
    pub fn opens(&self, source: &str) -> bool {
        self.source(source)
            .is_some_and(|source| source.settings().open.is_some())
    }

    /// Live sessions of a source that name somebody: of `user`, who is called `source:subject`, or of all. See
    /// [`SourceDesk::list`].
    ///
    /// # Errors
    /// `NoSource`, or could not ask.
    pub async fn list_theirs(
        &self,
        source: &str,
        user: Option<&str>,
        after: Option<[u8; 32]>,
        limit: usize,
    ) -> Result<TheirSessions, SessionError> {
        let desk = self.desk_of(source)?;
        let user = user.map(str::to_owned);
        let now = self.now();
        self.on_control(async move { Ok(desk.list(user.as_deref(), after, limit, now).await?) })
            .await
    }

    /// Every live session of the user who is called `source:subject`.
    ///
    /// # Errors
    /// `NoSource`, or could not look at all of them.
    pub async fn all_theirs(&self, source: &str, user: &str) -> Result<Vec<TheirSession>, SessionError> {
        let desk = self.desk_of(source)?;
        let user = user.to_owned();
        let now = self.now();
        self.on_control(async move { Ok(desk.all_of(&user, now).await?) }).await
    }

    /// Every live session of the user of `live`, which is an application's; none for one of ours.
    ///
    /// # Errors
    /// Could not look at all of them.
    pub async fn own_theirs(&self, live: &Live) -> Result<Vec<TheirSession>, SessionError> {
        let Some(source) = live.entry.source() else {
            return Ok(Vec::new());
        };
        let desk = self.desk_of(source)?;
        let user = live.entry.user.clone();
        let now = self.now();
        self.on_control(async move { Ok(desk.all_of_same(&user, now).await?) })
            .await
    }

    /// The path of an application's own log-out, where the operator named one.
    #[must_use]
    pub fn log_out_of(&self, entry: &Entry) -> Option<&str> {
        let source = self.source_of(entry)?;
        source.settings().logout_paths.first().map(String::as_str)
    }

    /// The live session of an application with this public id, and its source; all sources are asked.
    ///
    /// # Errors
    /// One could not be asked, and none of the others has it.
    pub async fn show_theirs(&self, id: PublicId) -> Result<Option<(String, TheirSession)>, SessionError> {
        let now = self.now();
        let mut silent = None;
        for source in self.sources.iter() {
            let desk = self.desk_of(&source.settings().name)?;
            let name = desk.name().to_owned();
            match self.on_control(async move { Ok(desk.show(id, now).await?) }).await {
                Ok(Some(session)) => return Ok(Some((name, session))),
                Ok(None) => {}
                Err(error) => silent = Some(error),
            }
        }
        silent.map_or(Ok(None), Err)
    }

    /// Ends sessions of a source: written down with `event`, rows deleted, forgotten here, their streams told, before it
    /// returns. A dropped future ends them all the same.
    ///
    /// # Errors
    /// `NotEnded` says what was done.
    pub async fn end_theirs(
        self: &Arc<Self>,
        source: &str,
        sessions: Vec<TheirSession>,
        event: Event,
    ) -> Result<(), SessionError> {
        let name = source.to_owned();
        let shared = Arc::clone(self);
        self.on_control(async move {
            let source = shared.source(&name).ok_or(SessionError::NoSource)?;
            source.end(&sessions, event).await
        })
        .await
    }

    /// The application's session that `live` is, to be ended; `None` for one of ours, and where it was not asked for within
    /// the last hour.
    pub async fn theirs(&self, live: &Live) -> Option<(String, TheirSession)> {
        let source = self.source_of(&live.entry)?;
        let desk = source.their_desk()?;
        let found = Found {
            session: live.entry.session.clone(),
            user: live.entry.user.clone(),
        };
        Some((source.settings().name.clone(), desk.at_hand(found, self.now()).await?))
    }

    fn desk_of(&self, source: &str) -> Result<SourceDesk, SessionError> {
        self.source(source)
            .and_then(Legacy::their_desk)
            .ok_or(SessionError::NoSource)
    }

    /// Names of the cookies of the application whose session this is; none for one of ours.
    #[must_use]
    pub fn cookies_of(&self, entry: &Entry) -> &[String] {
        self.source_of(entry)
            .map_or(&[], |source| &source.settings().mapping.cookies)
    }

    /// Whether it must be asked if the session of a request was ended before its answer goes on; false at once for one of
    /// ours. `sets_cookie`: the answer gives its browser a session of the application's.
    #[must_use]
    pub fn may_have_ended(&self, entry: &Entry, sets_cookie: impl FnOnce(&[String]) -> bool) -> bool {
        let Some(source) = self.source_of(entry) else {
            return false;
        };
        let Some(cache) = source.cache().filter(|_| source.settings().table.are_ended()) else {
            return false;
        };
        let session = &entry.session;
        let moved = !cache.stripes.hold(&session.digest, session.user, entry.stamps);
        moved || (!cache.hears_ends() && sets_cookie(&source.settings().mapping.cookies))
    }

    /// Whether the session of a request, which is an application's, was ended while the application answered. Then its row
    /// is looked after, and so is any that the answer's cookies (`set`, name and value) name, which ends with it: some
    /// applications save under a new id. What could not be asked counts as ended where something changed.
    pub async fn ended_meanwhile(self: &Arc<Self>, entry: &Arc<Entry>, set: Vec<(Vec<u8>, Vec<u8>)>) -> EndedMeanwhile {
        let (shared, entry) = (Arc::clone(self), Arc::clone(entry));
        let asked = self
            .on_control(async move { Ok(shared.ask_ended(&entry, &set).await) })
            .await;
        asked.unwrap_or(EndedMeanwhile::Yes)
    }

    async fn ask_ended(self: &Arc<Self>, entry: &Arc<Entry>, set: &[(Vec<u8>, Vec<u8>)]) -> EndedMeanwhile {
        let source = self.source_of(entry);
        let Some((source, (cache, lookups))) = source.and_then(|source| Some((source, source.desk()?))) else {
            return EndedMeanwhile::No;
        };
        let session = &entry.session;
        let moved = !cache.stripes.hold(&session.digest, session.user, entry.stamps);
        match lookups.ended_of(&*cache.store, &[session.digest]).await {
            Ok(ended) if ended.is_empty() => return EndedMeanwhile::No,
            Ok(_) => {}
            Err(_) if moved => return EndedMeanwhile::Yes,
            Err(_) => return EndedMeanwhile::No,
        }
        let live = Live {
            entry: Arc::clone(entry),
            stale: None,
        };
        if let Some((_, ended)) = self.theirs(&live).await {
            lookups.look_after(&cache.control, ended.row().key().to_owned());
        }
        self.end_successors(source, entry, set).await;
        EndedMeanwhile::Yes
    }

    /// Ends the sessions that an answer gave the browser of one that was ended.
    async fn end_successors(&self, source: &Legacy, entry: &Entry, set: &[(Vec<u8>, Vec<u8>)]) {
        let now = self.now();
        for (name, value) in set {
            let named = source.settings().named(&[(name, value)], now.as_seconds());
            let Some((digest, key)) = named.filter(|(digest, _)| *digest != entry.session.digest) else {
                continue;
            };
            let mut found = Found {
                session: entry.session.clone(),
                user: entry.user.clone(),
            };
            found.session.digest = digest;
            let (Some(lookups), Some(desk)) = (source.lookups(), source.their_desk()) else {
                return;
            };
            lookups.remember(digest, key).await;
            let Some(successor) = desk.at_hand(found, now).await else {
                continue;
            };
            let event = Event {
                reason: Some("came_back"),
                ..Event::new(now, EventKind::SessionEnded, "system")
            };
            let event = successor.told(event);
            if let Err(error) = source.end(&[successor], event).await {
                tracing::warn!(
                    source.name = source.settings().name,
                    error = &error as &dyn std::error::Error,
                    "an application gave an ended session another id, and that one was not ended; its cookie was dropped"
                );
            }
        }
    }
}
