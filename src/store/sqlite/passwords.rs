use super::Begun;
use super::Sqlite;
use super::events;
use super::sessions;
use crate::model::Event;
use crate::model::NewSession;
use crate::model::UserId;
use crate::store::StoreError;
use crate::store::records::Ended;
use crate::store::records::PasswordChange;
use crate::store::records::Which;
use secrecy::ExposeSecret;
use sqlx::Row;

const TABLE: &str = "users";
const SESSIONS: &str = "sessions";

pub(super) async fn replace(
    store: &Sqlite,
    user: UserId,
    change: PasswordChange,
    event: Event,
) -> Result<bool, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = async {
        let swapped = swap(store, &mut work, user, &change).await?;
        if swapped {
            events::write(store, &mut work, &event).await?;
        }
        Ok(swapped)
    }
    .await;
    work.settle(outcome).await
}

pub(super) async fn change(
    store: &Sqlite,
    new: NewSession,
    change: PasswordChange,
    event: Event,
) -> Result<Option<Vec<Ended>>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = swap_and_reopen(store, &mut work, new, &change, &event).await;
    work.settle(outcome).await
}

async fn swap_and_reopen(
    store: &Sqlite,
    work: &mut Begun,
    new: NewSession,
    change: &PasswordChange,
    event: &Event,
) -> Result<Option<Vec<Ended>>, StoreError> {
    let mut session = new.session;
    let user = session.user;
    if !swap(store, work, user, change).await? {
        return Ok(None);
    }
    if let Some(digest) = new.replaces.filter(|_| session.data.is_none()) {
        // Only read: taking this row before the others would break the order in which they are locked.
        let data = Sqlite::query(&store.sql.session_data)
            .bind(digest.0.to_vec())
            .bind(user.0);
        if let Some(row) = work.rows(SESSIONS, data).await?.first() {
            session.data = row.try_get("data").map_err(|error| StoreError::on(SESSIONS, error))?;
        }
    }
    let ended = sessions::delete(store, work, &Which::User(user)).await?;
    sessions::insert(store, work, &session).await?;
    events::write(store, work, event).await?;
    Ok(Some(ended))
}

/// Puts the new hash in place of the old one, if that is still there.
async fn swap(store: &Sqlite, work: &mut Begun, user: UserId, change: &PasswordChange) -> Result<bool, StoreError> {
    let statement = Sqlite::query(&store.sql.swap_password)
        .bind(user.0)
        .bind(change.before.expose_secret().to_owned())
        .bind(change.after.expose_secret().to_owned());
    Ok(!work.rows(TABLE, statement).await?.is_empty())
}
