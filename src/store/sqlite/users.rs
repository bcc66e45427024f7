use super::Begun;
use super::Sqlite;
use super::events;
use super::rows;
use super::sessions;
use crate::model::Event;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use crate::store::EMAIL;
use crate::store::StoreError;
use crate::store::USERNAME;
use crate::store::columns;
use crate::store::records::Added;
use crate::store::records::Credentials;
use crate::store::records::Ended;
use crate::store::records::NewUser;
use crate::store::records::UserChange;
use crate::store::records::Which;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

const TABLE: &str = "users";

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::on(TABLE, error)
}

pub(super) async fn add(store: &Sqlite, mut new: NewUser, event: Event) -> Result<(), StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = insert(store, &mut work, &mut new, &event).await;
    work.settle(outcome).await
}

pub(super) async fn add_all(
    store: &Sqlite,
    mut new: Vec<(NewUser, Event)>,
    dry_run: bool,
) -> Result<Vec<Added>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = insert_all(store, &mut work, &mut new, dry_run).await;
    work.settle(outcome).await
}

async fn insert_all(
    store: &Sqlite,
    work: &mut Begun,
    new: &mut [(NewUser, Event)],
    dry_run: bool,
) -> Result<Vec<Added>, StoreError> {
    let mut added = Vec::with_capacity(new.len());
    for (user, event) in new {
        let outcome = if dry_run {
            claim(store, work, user).await.map(drop)
        } else {
            insert(store, work, user, event).await
        };
        added.push(match outcome {
            Ok(()) => Added::Done,
            Err(StoreError::Taken(what)) => Added::Taken(what),
            Err(error) => return Err(error),
        });
    }
    Ok(added)
}

/// Whether name and address are free, so far as that is not for claims to say; an unverified address that is not is left
/// out. Returns whether claims of others are to be dropped.
async fn claim(store: &Sqlite, work: &mut Begun, new: &mut NewUser) -> Result<bool, StoreError> {
    let user = &mut new.user;
    let names = Sqlite::query(&store.sql.names_taken)
        .bind(user.username.as_str())
        .bind(user.email.clone())
        .bind(user.email_verified);
    let found = work.rows(TABLE, names).await?;
    let row = found.first().ok_or(failed(sqlx::Error::RowNotFound))?;
    if row.try_get("username_taken").map_err(failed)? {
        return Err(StoreError::Taken(USERNAME));
    }
    if row.try_get("email_taken").map_err(failed)? {
        if user.email_verified {
            return Err(StoreError::Taken(EMAIL));
        }
        user.email = None;
    }
    row.try_get("claimed").map_err(failed)
}

pub(super) async fn insert(
    store: &Sqlite,
    work: &mut Begun,
    new: &mut NewUser,
    event: &Event,
) -> Result<(), StoreError> {
    let claimed = claim(store, work, new).await?;
    let user = &new.user;
    if claimed {
        let drop_claims = Sqlite::query(&store.sql.drop_claims)
            .bind(user.username.as_str())
            .bind(user.email.as_deref())
            .bind(user.email_verified);
        work.rows(TABLE, drop_claims).await?;
    }
    let statement = Sqlite::query(&store.sql.insert_user)
        .bind(user.id.0)
        .bind(user.created_at.as_micros())
        .bind(user.email_verified)
        .bind(columns::state_word(user.state))
        .bind(user.username.as_str())
        .bind(user.email.as_deref())
        .bind(user.name.as_deref())
        .bind(new.password.as_ref().map(ExposeSecret::expose_secret))
        .bind(Json(&user.groups));
    work.rows(TABLE, statement).await?;
    events::write(store, work, event).await
}

pub(super) async fn find_credentials(store: &Sqlite, login: &str) -> Result<Option<Credentials>, StoreError> {
    let query = || Sqlite::query(&store.sql.find_credentials).bind(login);
    let found = store.read(&store.readers, TABLE, query).await?;
    found.first().map(credentials).transpose().map_err(failed)
}

fn credentials(row: &SqliteRow) -> Result<Credentials, sqlx::Error> {
    Ok(Credentials {
        user: rows::user(row)?,
        password: row.try_get::<Option<String>, _>("password")?.map(SecretString::from),
    })
}

pub(super) async fn find(store: &Sqlite, username: &Username) -> Result<Option<User>, StoreError> {
    let query = || Sqlite::query(&store.sql.find_user).bind(username.as_str());
    let found = store.read(&store.readers, TABLE, query).await?;
    found.first().map(rows::user).transpose().map_err(failed)
}

pub(super) async fn list(
    store: &Sqlite,
    search: Option<&str>,
    after: Option<&Username>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let (after, search) = (after.map_or("", Username::as_str), search.unwrap_or_default());
    let query = || {
        Sqlite::query(&store.sql.list_users)
            .bind(after)
            .bind(search)
            .bind(i64::from(limit))
    };
    let found = store.read(&store.readers, TABLE, query).await?;
    found.iter().map(rows::user).collect::<Result<_, _>>().map_err(failed)
}

pub(super) async fn change(
    store: &Sqlite,
    user: UserId,
    change: UserChange,
    event: Event,
) -> Result<Vec<Ended>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = update(store, &mut work, user, &change, &event).await;
    work.settle(outcome).await
}

async fn update(
    store: &Sqlite,
    work: &mut Begun,
    user: UserId,
    change: &UserChange,
    event: &Event,
) -> Result<Vec<Ended>, StoreError> {
    let known = work
        .rows(TABLE, Sqlite::query(&store.sql.find_groups).bind(user.0))
        .await?;
    let row = known.first().ok_or(StoreError::NoSuchUser)?;
    let Json(groups): Json<Vec<String>> = row.try_get("groups").map_err(failed)?;
    let statement = Sqlite::query(&store.sql.update_user)
        .bind(user.0)
        .bind(change.password.as_ref().map(ExposeSecret::expose_secret))
        .bind(change.state.map(columns::state_word))
        .bind(change.groups_after(&groups).map(Json));
    work.rows(TABLE, statement).await?;
    events::write(store, work, event).await?;
    if change.end_sessions || change.state == Some(UserState::Disabled) {
        return sessions::delete(store, work, &Which::User(user)).await;
    }
    Ok(Vec::new())
}

pub(super) async fn delete(store: &Sqlite, user: UserId, event: Event) -> Result<Vec<Ended>, StoreError> {
    let mut work = store.begin(TABLE).await?;
    let outcome = remove(store, &mut work, user, &event).await;
    work.settle(outcome).await
}

async fn remove(store: &Sqlite, work: &mut Begun, user: UserId, event: &Event) -> Result<Vec<Ended>, StoreError> {
    let known = work
        .rows(TABLE, Sqlite::query(&store.sql.find_groups).bind(user.0))
        .await?;
    let row = known.first().ok_or(StoreError::NoSuchUser)?;
    let username: String = row.try_get("username").map_err(failed)?;
    let ended = sessions::delete(store, work, &Which::User(user)).await?;
    let retire = Sqlite::query(&store.sql.retire_username).bind(username);
    work.rows("retired_usernames", retire.bind(event.at.as_micros()))
        .await?;
    work.rows(TABLE, Sqlite::query(&store.sql.delete_user).bind(user.0))
        .await?;
    events::write(store, work, event).await?;
    Ok(ended)
}
