//! Log-ins here that are log-ins in applications, too, and log-outs likewise.

use super::SessionError;
use super::Sessions;
use super::legacy::Legacy;
use super::source::Misfit;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::Session;
use crate::model::User;
use futures_util::future::join_all;
use secrecy::SecretString;
use std::net::IpAddr;

/// Most bytes of a name in an audit event.
const MOST_NAME: usize = 64;

/// What became of signing somebody into one application.
#[derive(Debug)]
pub enum Entered {
    /// Into the application: the `Set-Cookie` of its session. A secret.
    Opened(SecretString),
    /// Nobody said who the user is there.
    Nobody,
    /// Its tables could not be asked.
    Unavailable,
    /// What was configured or said does not fit together; the log has it.
    Unfit,
}

/// One application that a log-in is for, too.
#[derive(Debug)]
pub struct Entrance {
    /// Its source.
    pub source: String,
    /// What became of it.
    pub entered: Entered,
}

impl Sessions {
    /// Opens a new session of `user` in each application on `host` that a log-in here is for, in place of the one that
    /// the cookies of the browser name there. `session` is ours, just opened. Always a new key; only an administrator says
    /// who `user` is there; at most as long as three calls to the application's database may take.
    pub async fn enter(
        &self,
        host: &str,
        https: bool,
        (session, user): (&Session, &User),
        from: IpAddr,
        cookies: &[(&[u8], &[u8])],
    ) -> Vec<Entrance> {
        let each = self.opening(host).map(async |source| Entrance {
            source: source.settings().name.clone(),
            entered: self.enter_one(source, https, (session, user), from, cookies).await,
        });
        join_all(each).await
    }

    fn opening(&self, host: &str) -> impl Iterator<Item = &Legacy> {
        let opens = move |source: &&Legacy| source.settings().open.is_some() && source.settings().serves(host);
        self.sources.iter().map(AsRef::as_ref).filter(opens)
    }

    async fn enter_one(
        &self,
        source: &Legacy,
        https: bool,
        (session, user): (&Session, &User),
        from: IpAddr,
        cookies: &[(&[u8], &[u8])],
    ) -> Entered {
        let settings = source.settings();
        let name = settings.name.as_str();
        let Some(app_user) = user.app_users.get(name) else {
            return Entered::Nobody;
        };
        let Some((cache, lookups)) = source.desk() else {
            return Entered::Unavailable;
        };
        let fresh = match settings.fresh(user, app_user, self.now(), https) {
            Some(Ok(fresh)) => fresh,
            None => return Entered::Unfit,
            Some(Err(error)) => {
                tracing::warn!(source.name = name, user.name = %user.username, error = &error as &dyn std::error::Error,
                    "a user could not be signed into an application");
                return if error == Misfit::Randomness {
                    Entered::Unavailable
                } else {
                    Entered::Unfit
                };
            }
        };
        if let Err(error) = lookups.table().open(&fresh.key, &fresh.payload, fresh.end).await {
            tracing::warn!(source.name = name, user.name = %user.username, error = &error as &dyn std::error::Error,
                "an application's session could not be stored; the user is signed in here only");
            return Entered::Unavailable;
        }
        // A key that was just made is no row that is not there.
        cache.forget(&fresh.digest);
        // As the library's own `regenerate`: the browser forgets the old one now.
        let replaced = Event {
            address: Some(from),
            reason: Some("replaced"),
            successor: Some(session.public_id),
            ..Event::new(self.now(), EventKind::SessionEnded, user.username.as_str())
        };
        if let Err(error) = self.leave_one(source, cookies, replaced).await {
            tracing::warn!(
                source.name = name,
                error = &error as &dyn std::error::Error,
                "an application's session that a log-in replaced was not ended; no browser of the user has its cookie"
            );
        }
        let event = Event {
            user: Some(user.id),
            username: Some(fresh.principal.as_str().chars().take(MOST_NAME).collect()),
            session: Some(session.public_id),
            address: Some(from),
            source: Some(name.to_owned()),
            ..Event::new(self.now(), EventKind::AppSessionOpened, user.username.as_str())
        };
        if let Err(error) = self.cache.guarded(self.cache.store.record(event)).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an opened session was not audited"
            );
        }
        Entered::Opened(fresh.cookie)
    }

    /// Ends the sessions that the browser's cookies name in the applications on `host` which a log-in here is for, each with
    /// an event like `event`. The `Set-Cookie`s that take the cookies away.
    ///
    /// # Errors
    /// The first application's that did not carry it out; another's may be ended then.
    pub async fn leave(
        &self,
        host: &str,
        https: bool,
        cookies: &[(&[u8], &[u8])],
        event: Event,
    ) -> Result<Vec<String>, SessionError> {
        let mut taking = Vec::new();
        for source in self.opening(host) {
            let settings = source.settings();
            // Where people may end any session of the source, the log-out has ended this one.
            let left = if settings.table.may_end {
                settings.named(cookies, self.now().as_seconds()).is_some()
            } else {
                self.leave_one(source, cookies, event.clone()).await?
            };
            if left {
                taking.extend(settings.taking(https));
            }
        }
        Ok(taking)
    }

    /// Whether the cookies named one at all.
    async fn leave_one(&self, source: &Legacy, cookies: &[(&[u8], &[u8])], event: Event) -> Result<bool, SessionError> {
        let Some((_, key)) = source.settings().named(cookies, self.now().as_seconds()) else {
            return Ok(false);
        };
        source.leave(key, event).await.map(|()| true)
    }
}
