use super::Entry;
use super::Login;
use super::Opened;
use super::SessionError;
use super::Sessions;
use super::StreamEnd;
use super::cache::Cache;
use super::load::GUARD;
use super::load::Loaded;
use crate::model::Digest;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::NewSession;
use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::device_name;
use crate::store::Call;
use crate::store::Ended;
use crate::store::Found;
use crate::store::StoreError;
use crate::store::Which;
use std::future::Future;
use std::sync::Arc;

/// Most bytes of a user agent that are kept.
const USER_AGENT: usize = 128;

impl Sessions {
    /// Opens a session: always a new token. The old session of that browser is ended, here before this returns. A dropped
    /// future opens it all the same; nobody holds its token then.
    ///
    /// # Errors
    /// See [`SessionError`]; nothing was opened then.
    pub async fn open(&self, login: Login) -> Result<Opened, SessionError> {
        let (digest, cookie_value) = self.tokens.mint().ok_or(SessionError::Randomness)?;
        let now = self.database_now().await?;
        let public_id = new_public_id(now)?;
        let session = self.draw_up(&login, digest, public_id, now);
        let event = Event {
            user: Some(login.user.id),
            username: Some(login.user.username.to_string()),
            session: Some(public_id),
            address: Some(login.address),
            device: session.device.clone(),
            ..Event::new(now, EventKind::LoginSucceeded, login.user.username.as_str())
        };
        let new = NewSession {
            session,
            replaces: login.replaces,
            proven: login.proven,
            limit: self.settings.max_per_user,
            when_full: self.settings.when_full,
            tell_new_device: !login.known_browser,
        };
        let cache = Arc::clone(&self.cache);
        let entry = self
            .on_control(async move { cache.open(new, login.user, event).await })
            .await?;
        Ok(Opened { entry, cookie_value })
    }

    /// The database's time, asked for where it was not heard yet: a session must not begin by the clock of this machine.
    pub(super) async fn database_now(&self) -> Result<Timestamp, SessionError> {
        if !self.cache.time.is_known() {
            let cache = Arc::clone(&self.cache);
            self.on_control(async move { Ok(cache.know_time().await?) }).await?;
        }
        Ok(self.now())
    }

    /// The record of a session that begins.
    pub(super) fn draw_up(&self, login: &Login, digest: Digest, public_id: PublicId, now: Timestamp) -> Session {
        let settings = &self.settings;
        let remembered = settings.remember_lifetime.filter(|_| login.remember);
        let ends_at = now.plus(remembered.unwrap_or(settings.lifetime));
        // Whoever asked to be remembered comes back after days: their idle end is the absolute one.
        let idle = remembered.unwrap_or(settings.idle_timeout);
        Session {
            digest,
            public_id,
            user: login.user.id,
            created_at: now,
            authenticated_at: now,
            last_seen_at: now,
            expires_at: now.plus(idle).min(ends_at),
            ends_at,
            remembered: remembered.is_some(),
            methods: login.methods.clone(),
            user_agent: login.user_agent.as_deref().map(cut),
            device: login.user_agent.as_deref().and_then(device_name),
            first_address: Some(login.address),
            last_address: Some(login.address),
            data: None,
        }
    }

    /// Ends sessions, forgets them in every cache of this process and ends their open streams before it returns. A dropped
    /// future ends them all the same.
    ///
    /// # Errors
    /// The store's. Then it is not known that they were ended, and none of them is believed without asking again.
    pub async fn end(&self, which: Which, event: Event) -> Result<Vec<Ended>, SessionError> {
        let cache = Arc::clone(&self.cache);
        self.on_control(async move { cache.end(which, event).await }).await
    }

    /// Forgets sessions that somebody ended in the store, and ends their open streams.
    pub fn forget(&self, ended: &[Ended]) {
        self.forget_because(ended, StreamEnd::Ended);
    }

    /// The same, and tells their open streams why.
    pub fn forget_because(&self, ended: &[Ended], why: StreamEnd) {
        for one in ended {
            self.cache.is_over(&one.digest, why);
        }
    }

    /// Forgets what is known of a user who was changed in the store: name, groups, state, sessions. Their open streams are
    /// judged anew.
    pub fn forget_user(&self, user: UserId) {
        self.cache.forget_user(user);
    }

    /// Forgets everything; all open streams are judged anew.
    pub fn forget_all(&self) {
        self.cache.forget_all();
    }

    /// Sessions as the store has them, newest first, after `after`, at most `limit`, of one user or all, over or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        user: Option<UserId>,
        after: Option<PublicId>,
        limit: u32,
    ) -> Result<Vec<Found>, SessionError> {
        let cache = Arc::clone(&self.cache);
        self.on_control(async move { Ok(cache.guarded(cache.store.list_sessions(user, after, limit)).await?) })
            .await
    }

    /// The session with this public id as the store has it, over or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn show(&self, id: PublicId) -> Result<Option<Found>, SessionError> {
        let cache = Arc::clone(&self.cache);
        self.on_control(async move { Ok(cache.guarded(cache.store.find_session_by_public_id(id)).await?) })
            .await
    }

    pub(super) async fn on_control<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, SessionError>> + Send + 'static,
    ) -> Result<T, SessionError> {
        let done = self.cache.control.spawn(work).await;
        // The runtime ended or the work panicked: nobody knows how far it came, as with a call that timed out.
        done.unwrap_or(Err(SessionError::Store(StoreError::TimedOut)))
    }
}

impl Cache {
    /// `call`, ended when the store does not do that itself.
    pub(super) async fn guarded<T>(&self, call: Call<'_, T>) -> Result<T, StoreError> {
        tokio::time::timeout(GUARD, call)
            .await
            .unwrap_or(Err(StoreError::TimedOut))
    }

    async fn open(&self, new: NewSession, user: User, event: Event) -> Result<Arc<Entry>, SessionError> {
        let session = new.session.clone();
        let replaces = new.replaces;
        let limited = new.limit.is_some();
        let opened = self.guarded(self.store.open_session(new, event.clone())).await;
        // On an error too: whether it was carried out is not known.
        if let Some(replaced) = replaces {
            self.forget(&replaced);
        }
        match opened {
            Ok(ended) => {
                for one in ended {
                    let made_room = replaces != Some(one.digest);
                    let why = if made_room {
                        StreamEnd::Ended
                    } else {
                        StreamEnd::Replaced
                    };
                    self.is_over(&one.digest, why);
                }
            }
            Err(StoreError::Full) => {
                self.record_full(event).await;
                return Err(SessionError::Full);
            }
            Err(StoreError::NoSuchUser) => return Err(SessionError::UserGone),
            Err(error) => {
                // Which of the user's sessions made room for it is not known either.
                if limited {
                    self.forget_user(user.id);
                }
                return Err(error.into());
            }
        }
        self.entry_of(session, user).await
    }

    /// The entry of a session that was just stored.
    pub(super) async fn entry_of(&self, session: Session, user: User) -> Result<Arc<Entry>, SessionError> {
        // Read back, not taken from the log-in: the user may have been changed since the password was checked.
        let loaded = self.load(&session.digest).await;
        self.keep(session.digest, &loaded).await;
        match loaded {
            Loaded::Found(entry) => Ok(entry),
            Loaded::Absent(_) => Err(SessionError::UserGone),
            Loaded::Unavailable => {
                let stamps = self.stripes.standing(&session.digest, user.id);
                Ok(Arc::new(Entry::new(session, user, self.time.elapsed(), stamps)))
            }
        }
    }

    /// A log-in that was proven and refused all the same.
    async fn record_full(&self, login: Event) {
        let event = Event {
            kind: EventKind::LoginFailed,
            session: None,
            reason: Some("too_many_sessions"),
            ..login
        };
        if let Err(error) = self.guarded(self.store.record(event)).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a refused log-in could not be written to the audit log");
        }
    }

    async fn end(&self, which: Which, event: Event) -> Result<Vec<Ended>, SessionError> {
        // Found by its digest first, so that an end that fails half-way need not make the cache forget everything.
        let which = match which {
            Which::Public(id) => match self.guarded(self.store.find_session_by_public_id(id)).await? {
                Some(found) => Which::Digest(found.session.digest),
                None => return Ok(Vec::new()),
            },
            other => other,
        };
        let why = match event.kind {
            EventKind::LoggedOut => StreamEnd::LoggedOut,
            EventKind::UserDisabled | EventKind::UserDeleted => StreamEnd::Disabled,
            _ => StreamEnd::Ended,
        };
        let ended = self.guarded(self.store.end_sessions(which.clone(), event)).await;
        // On an error too: whether it was carried out is not known, and what may be ended is not believed.
        match which {
            Which::Digest(digest) => self.forget(&digest),
            Which::User(user) | Which::Others { user, .. } => self.forget_user(user),
            Which::Public(_) | Which::All => self.forget_all(),
        }
        let ended = ended?;
        for one in &ended {
            self.is_over(&one.digest, why);
        }
        Ok(ended)
    }

    /// A session may have changed. The counters go first: see `streams.rs`.
    pub(super) fn forget(&self, digest: &Digest) {
        self.stripes.forget(digest);
        self.streams.doubt(digest);
        for source in self.companions().iter().filter(|source| source.elder.is_some()) {
            if let Some(lookups) = &source.lookups {
                lookups.hear(*digest);
            }
            source.forget_row(digest);
        }
    }

    /// A user may have changed.
    pub(super) fn forget_user(&self, user: UserId) {
        self.stripes.forget_user(user);
        self.streams.doubt_user(user);
        self.companions().iter().for_each(|source| source.forget_user(user));
    }

    /// Anything may have changed.
    pub(super) fn forget_all(&self) {
        self.stripes.forget_all();
        self.streams.doubt_all();
        self.companions().iter().for_each(|source| source.forget_all());
    }

    /// A session was ended, which is known for sure. Every way of ending one comes by here.
    pub(super) fn is_over(&self, digest: &Digest, why: StreamEnd) {
        self.stripes.forget(digest);
        self.streams.end(digest, why);
        self.drop_entry(digest);
    }
}

/// A version 7 UUID of `now` (RFC 9562, 5.7).
pub(super) fn new_public_id(now: Timestamp) -> Result<PublicId, SessionError> {
    let mut random = [0_u8; 10];
    getrandom::fill(&mut random).map_err(|_| SessionError::Randomness)?;
    let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
    Ok(PublicId(
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid(),
    ))
}

/// The start of a user agent, whole characters, without controls (Postgres keeps no NUL).
fn cut(text: &str) -> String {
    let mut kept: String = text.chars().filter(|character| !character.is_control()).collect();
    kept.truncate(kept.floor_char_boundary(USER_AGENT));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_cut_between_characters_and_holds_no_controls() {
        assert_eq!(cut("Mozilla\u{0}\n"), "Mozilla");
        let long = format!("{}é", "a".repeat(127));
        assert_eq!(cut(&long), "a".repeat(127));
        assert_eq!(cut(&"é".repeat(100)).len(), 128);
    }
}
