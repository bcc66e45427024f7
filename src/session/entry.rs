use crate::model::Session;
use crate::model::User;
use std::any::Any;
use std::sync::Arc;

/// A session and its user as they were loaded, with what other rooms made of them.
#[derive(Debug)]
pub struct Entry {
    /// The session.
    pub session: Session,
    /// Its user.
    pub user: User,
}

#[expect(clippy::todo, reason = "skeleton")]
impl Entry {
    /// What `make` built of this entry under `key`, built at most once per entry and key; keys are unique per process
    /// (one for each identity profile and audience). Reading takes no lock.
    pub fn derived<T: Any + Send + Sync>(&self, key: u64, make: impl FnOnce(&Session, &User) -> T) -> Arc<T> {
        let _ = (key, make);
        todo!()
    }
}
