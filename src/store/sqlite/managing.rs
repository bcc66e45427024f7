use super::Begun;
use super::Sqlite;
use super::events;
use super::rows;
use super::sessions;
use crate::model::Event;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::model::UserState;
use crate::model::Username;
use crate::store::Call;
use crate::store::EMAIL;
use crate::store::Managing;
use crate::store::StoreError;
use crate::store::columns;
use crate::store::managing::Edited;
use crate::store::managing::EventFilter;
use crate::store::managing::EventHour;
use crate::store::managing::LogInTrait;
use crate::store::managing::SQLITE_OVERHEAD;
use crate::store::managing::SessionFigures;
use crate::store::managing::UserEdit;
use crate::store::managing::Window;
use crate::store::managing::by_network;
use crate::store::managing::first_id_since;
use crate::store::managing::midnight;
use crate::store::records::Ended;
use crate::store::records::RecordedEvent;
use crate::store::records::Which;
use crate::store::work::within;
use secrecy::ExposeSecret;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

const USERS: &str = "users";
const APP_USERS: &str = "app_users";
const SESSIONS: &str = "sessions";
const EVENTS: &str = "audit_events";

impl Managing for Sqlite {
    fn find_user_by_id(&self, user: UserId) -> Call<'_, Option<User>> {
        within(self.limit, find_user(self, user))
    }
    fn edit_user(&self, user: UserId, edit: UserEdit, events: Vec<Event>) -> Call<'_, Edited> {
        within(self.limit, edit_user(self, user, edit, events))
    }
    fn set_session_data(&self, id: PublicId, data: Option<serde_json::Value>, event: Event) -> Call<'_, Option<Ended>> {
        within(self.limit, set_data(self, id, data, event))
    }
    fn find_events(&self, filter: EventFilter) -> Call<'_, Vec<(i64, RecordedEvent)>> {
        within(self.limit, find_events(self, filter))
    }
    fn forget_events(&self, before: Timestamp, limit: u32) -> Call<'_, u64> {
        within(self.limit, forget_events(self, before, limit))
    }
    fn session_figures(&self, now: Timestamp) -> Call<'_, SessionFigures> {
        within(self.limit, session_figures(self, now))
    }
    fn busiest_users(&self, now: Timestamp, limit: u32) -> Call<'_, Vec<(Username, u64)>> {
        within(self.limit, busiest_users(self, now, limit))
    }
    fn event_hours(&self, window: Window) -> Call<'_, Vec<EventHour>> {
        within(self.limit, event_hours(self, window))
    }
    fn log_ins_by(&self, what: LogInTrait, window: Window, limit: u32) -> Call<'_, Vec<(String, u64)>> {
        within(self.limit, log_ins_by(self, what, window, limit))
    }
}

fn failed(table: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| StoreError::on(table, error)
}

async fn find_user(store: &Sqlite, user: UserId) -> Result<Option<User>, StoreError> {
    let query = || Sqlite::query(&store.sql.find_user_by_id).bind(user.0);
    let found = store.read(&store.readers, USERS, query).await?;
    found.first().map(rows::user).transpose().map_err(failed(USERS))
}

async fn edit_user(store: &Sqlite, user: UserId, edit: UserEdit, events: Vec<Event>) -> Result<Edited, StoreError> {
    let mut work = store.begin(USERS).await?;
    let outcome = edit_within(store, &mut work, user, &edit, &events).await;
    work.settle(outcome).await
}

async fn edit_within(
    store: &Sqlite,
    work: &mut Begun,
    user: UserId,
    edit: &UserEdit,
    events: &[Event],
) -> Result<Edited, StoreError> {
    if let Some(email) = edit.email.text() {
        claim_email(store, work, user, email).await?;
    }
    let statement = Sqlite::query(&store.sql.edit_user)
        .bind(user.0)
        .bind(edit.email.changes())
        .bind(edit.email.text().map(str::to_owned))
        .bind(edit.name.changes())
        .bind(edit.name.text().map(str::to_owned))
        .bind(edit.groups.as_ref().map(Json))
        .bind(edit.state.map(columns::state_word))
        .bind(edit.password.as_ref().map(ExposeSecret::expose_secret));
    work.rows(USERS, statement).await?;
    let found = Sqlite::query(&store.sql.find_user_by_id).bind(user.0);
    let found = work.rows(USERS, found).await?;
    let row = found.first().ok_or(StoreError::NoSuchUser)?;
    let mut edited = rows::user(row).map_err(failed(USERS))?;
    for (source, value) in &edit.app_users {
        set_app_user(store, work, user, source, value.as_ref()).await?;
        match value {
            Some(value) => edited.app_users.insert(source.clone(), value.clone()),
            None => edited.app_users.remove(source),
        };
    }
    for event in events {
        events::write(store, work, event).await?;
    }
    let ends = edit.end_sessions || edit.state == Some(UserState::Disabled);
    let ended = if ends {
        sessions::delete(store, work, &Which::User(user)).await?
    } else {
        Vec::new()
    };
    Ok(Edited { user: edited, ended })
}

/// SQLite's one writer keeps the address free until the end.
async fn claim_email(store: &Sqlite, work: &mut Begun, user: UserId, email: &str) -> Result<(), StoreError> {
    let asked = Sqlite::query(&store.sql.email_taken).bind(user.0).bind(email);
    if !work.rows(USERS, asked).await?.is_empty() {
        return Err(StoreError::Taken(EMAIL));
    }
    let drop_claims = Sqlite::query(&store.sql.drop_email_claims).bind(user.0).bind(email);
    work.rows(USERS, drop_claims).await.map(drop)
}

async fn set_app_user(
    store: &Sqlite,
    work: &mut Begun,
    user: UserId,
    source: &str,
    value: Option<&serde_json::Value>,
) -> Result<(), StoreError> {
    let statement = match value {
        Some(value) => Sqlite::query(&store.sql.set_app_user)
            .bind(user.0)
            .bind(source.to_owned())
            .bind(value.to_string()),
        None => Sqlite::query(&store.sql.unset_app_user)
            .bind(user.0)
            .bind(source.to_owned()),
    };
    work.rows(APP_USERS, statement).await.map(drop)
}

async fn set_data(
    store: &Sqlite,
    id: PublicId,
    data: Option<serde_json::Value>,
    mut event: Event,
) -> Result<Option<Ended>, StoreError> {
    let mut work = store.begin(SESSIONS).await?;
    let outcome = async {
        let statement = Sqlite::query(&store.sql.set_session_data).bind(id.0).bind(data);
        let changed = work.rows(SESSIONS, statement).await?;
        let Some(row) = changed.first() else { return Ok(None) };
        let of = rows::ended(row).map_err(failed(SESSIONS))?;
        Ended::tell(&[of], &mut event);
        events::write(store, &mut work, &event).await?;
        Ok(Some(of))
    }
    .await;
    work.settle(outcome).await
}

async fn find_events(store: &Sqlite, filter: EventFilter) -> Result<Vec<(i64, RecordedEvent)>, StoreError> {
    // Who has a row is found by key; of a deleted user the log knows the name, and from it the key.
    let user = match &filter.user {
        Some(name) => {
            let query = || Sqlite::query(&store.sql.event_user).bind(name.as_str());
            let found = store.read(&store.readers, EVENTS, query).await?;
            let row = found.first().ok_or(StoreError::on(EVENTS, sqlx::Error::RowNotFound))?;
            match row.try_get::<Option<Uuid>, _>("id").map_err(failed(EVENTS))? {
                Some(key) => Some(key),
                None => return Ok(Vec::new()),
            }
        }
        None => None,
    };
    let sql = match (filter.session, user) {
        (Some(_), _) => &store.sql.find_events_of_session,
        (None, Some(_)) => &store.sql.find_events_of_user,
        (None, None) => &store.sql.find_events,
    };
    let query = || {
        let query = Sqlite::query(sql)
            .bind(filter.below.unwrap_or(i64::MAX))
            .bind(i64::from(filter.limit))
            .bind(filter.since.map(Timestamp::as_micros))
            .bind(filter.until.map(Timestamp::as_micros))
            .bind(filter.kind.clone());
        match (filter.session, user) {
            (Some(session), _) => query.bind(session.0).bind(user),
            (None, Some(user)) => query.bind(user),
            (None, None) => query,
        }
    };
    let found = store.read(&store.readers, EVENTS, query).await?;
    let event = |row: &SqliteRow| Ok((row.try_get("event_id")?, rows::event(row)?));
    found
        .iter()
        .map(event)
        .collect::<Result<_, _>>()
        .map_err(failed(EVENTS))
}

async fn forget_events(store: &Sqlite, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
    let mut work = store.begin(EVENTS).await?;
    let statement = Sqlite::query(&store.sql.forget_events)
        .bind(before.as_micros())
        .bind(i64::from(limit));
    let outcome = work.rows(EVENTS, statement).await;
    work.settle(outcome.map(|forgotten| forgotten.len() as u64)).await
}

async fn session_figures(store: &Sqlite, now: Timestamp) -> Result<SessionFigures, StoreError> {
    let query = || {
        Sqlite::query(&store.sql.session_figures)
            .bind(now.as_micros())
            // A session's place in the index lies less than an hour behind its end.
            .bind(now.plus(Duration::from_hours(1)).as_micros())
            .bind(first_id_since(midnight(now)))
    };
    let found = store.read(&store.readers, SESSIONS, query).await?;
    let total = first_count(&found, SESSIONS, "total")?;
    let texts = first_count(&found, SESSIONS, "bytes")?;
    Ok(SessionFigures {
        total,
        expired: first_count(&found, SESSIONS, "expired")?,
        created_today: first_count(&found, SESSIONS, "created_today")?,
        users: first_count(&found, SESSIONS, "users")?,
        bytes: total.saturating_mul(texts + SQLITE_OVERHEAD),
    })
}

fn first_count(found: &[SqliteRow], table: &'static str, column: &str) -> Result<u64, StoreError> {
    let row = found.first().ok_or(StoreError::on(table, sqlx::Error::RowNotFound))?;
    row.try_get(column).map(columns::unsigned).map_err(failed(table))
}

async fn busiest_users(store: &Sqlite, now: Timestamp, limit: u32) -> Result<Vec<(Username, u64)>, StoreError> {
    let query = || {
        Sqlite::query(&store.sql.busiest_users)
            .bind(now.as_micros())
            .bind(i64::from(limit))
    };
    let found = store.read(&store.readers, SESSIONS, query).await?;
    let one = |row: &SqliteRow| {
        let name = columns::username(row.try_get("username")?)?;
        Ok((name, columns::unsigned(row.try_get("sessions")?)))
    };
    found
        .iter()
        .map(one)
        .collect::<Result<_, _>>()
        .map_err(failed(SESSIONS))
}

async fn event_hours(store: &Sqlite, window: Window) -> Result<Vec<EventHour>, StoreError> {
    let query = || {
        Sqlite::query(&store.sql.event_hours)
            .bind(window.since.as_micros())
            .bind(i64::from(window.most))
    };
    let found = store.read(&store.readers, EVENTS, query).await?;
    let hour = |row: &SqliteRow| {
        Ok(EventHour {
            hour: row.try_get("hour")?,
            kind: row.try_get("kind")?,
            count: columns::unsigned(row.try_get("events")?),
            oldest: Timestamp::from_micros(row.try_get("oldest")?),
        })
    };
    found.iter().map(hour).collect::<Result<_, _>>().map_err(failed(EVENTS))
}

async fn log_ins_by(
    store: &Sqlite,
    what: LogInTrait,
    window: Window,
    limit: u32,
) -> Result<Vec<(String, u64)>, StoreError> {
    // Networks are added up here: SQLite has no word for them.
    let (sql, rows) = match what {
        LogInTrait::Network => (&store.sql.log_ins_by_address, window.most),
        LogInTrait::Device => (&store.sql.log_ins_by_device, limit),
        LogInTrait::FailureReason => (&store.sql.failures_by_reason, limit),
    };
    let query = || {
        Sqlite::query(sql)
            .bind(window.since.as_micros())
            .bind(i64::from(window.most))
            .bind(i64::from(rows))
    };
    let found = store.read(&store.readers, EVENTS, query).await?;
    let one = |row: &SqliteRow| Ok((row.try_get("what")?, columns::unsigned(row.try_get("events")?)));
    let counted: Result<Vec<_>, _> = found.iter().map(one).collect();
    let counted = counted.map_err(failed(EVENTS))?;
    Ok(match what {
        LogInTrait::Network => by_network(counted, limit),
        LogInTrait::Device | LogInTrait::FailureReason => counted,
    })
}
