use super::Entry;
use super::SessionError;
use super::Sessions;
use crate::model::Event;
use crate::model::EventKind;
use std::net::IpAddr;
use std::sync::Arc;

impl Sessions {
    /// Gives the device of a session a name of at most 128 bytes, and forgets the cached copy. Does nothing where it has
    /// that name. A dropped future names it all the same.
    ///
    /// # Errors
    /// The store's; whether it has the name is not known then.
    pub async fn name_device(&self, entry: &Entry, name: &str, address: IpAddr) -> Result<(), SessionError> {
        let (session, user) = (&entry.session, &entry.user);
        if session.device.as_deref() == Some(name) {
            return Ok(());
        }
        let event = Event {
            user: Some(user.id),
            username: Some(user.username.to_string()),
            session: Some(session.public_id),
            address: Some(address),
            ..Event::new(self.now(), EventKind::DeviceNamed, user.username.as_str())
        };
        let (cache, digest, name) = (Arc::clone(&self.cache), session.digest, name.to_owned());
        self.on_control(async move {
            let named = cache.guarded(cache.store.name_device(&digest, &name, event)).await;
            cache.forget(&digest);
            named?;
            Ok(())
        })
        .await
    }
}
