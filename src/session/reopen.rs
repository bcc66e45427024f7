use super::Login;
use super::Opened;
use super::SessionError;
use super::Sessions;
use super::StreamEnd;
use super::cache::Cache;
use super::entry::Entry;
use super::life::new_public_id;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::NewSession;
use crate::model::User;
use crate::store::PasswordChange;
use std::sync::Arc;

impl Sessions {
    /// Stores a new password for the user who proved the old one, ends all their sessions, here before this returns, and
    /// opens one for this browser, all at once. A dropped future does it all the same; nobody holds the new token then.
    ///
    /// # Errors
    /// See [`SessionError`]; after [`SessionError::PasswordChanged`] nothing was changed, after the store's it is not known,
    /// and none of the user's sessions is believed without asking again.
    pub async fn reopen(&self, login: Login, change: PasswordChange) -> Result<Opened, SessionError> {
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
            ..Event::new(now, EventKind::PasswordChanged, login.user.username.as_str())
        };
        let new = NewSession {
            replaces: login.replaces,
            ..NewSession::of(session)
        };
        let cache = Arc::clone(&self.cache);
        let entry = self
            .on_control(async move { cache.reopen(new, change, login.user, event).await })
            .await?;
        Ok(Opened { entry, cookie_value })
    }
}

impl Cache {
    async fn reopen(
        &self,
        new: NewSession,
        change: PasswordChange,
        user: User,
        event: Event,
    ) -> Result<Arc<Entry>, SessionError> {
        let session = new.session.clone();
        let changed = self.guarded(self.store.change_password(new, change, event)).await;
        // On an error too: whether it was carried out is not known.
        self.forget_user(user.id);
        let ended = changed?.ok_or(SessionError::PasswordChanged)?;
        for one in &ended {
            self.is_over(&one.digest, StreamEnd::Ended);
        }
        self.entry_of(session, user).await
    }
}
