use crate::model::PublicId;
use crate::model::Session;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::UserId;
use crate::store::columns;
use crate::store::records::Ended;
use crate::store::records::Found;
use crate::store::records::RecordedEvent;
use crate::store::sweeps::Sweep;
use crate::store::throttles::Ban;
use crate::store::touches::Standing;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

pub(super) fn at(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get(column).map(Timestamp::from_micros)
}

pub(super) fn found(row: &SqliteRow) -> Result<Found, sqlx::Error> {
    Ok(Found {
        session: session(row)?,
        user: user(row)?,
    })
}

fn session(row: &SqliteRow) -> Result<Session, sqlx::Error> {
    Ok(Session {
        digest: columns::digest(row.try_get("digest")?)?,
        public_id: PublicId(row.try_get("public_id")?),
        user: UserId(row.try_get("user_id")?),
        created_at: at(row, "created_at")?,
        authenticated_at: at(row, "authenticated_at")?,
        last_seen_at: at(row, "last_seen_at")?,
        expires_at: at(row, "expires_at")?,
        ends_at: at(row, "ends_at")?,
        remembered: row.try_get("remembered")?,
        methods: columns::methods(row.try_get("methods")?),
        user_agent: row.try_get("user_agent")?,
        device: row.try_get("device")?,
        first_address: columns::address(row.try_get("first_address")?)?,
        last_address: columns::address(row.try_get("last_address")?)?,
        data: row.try_get("data")?,
    })
}

pub(super) fn user(row: &SqliteRow) -> Result<User, sqlx::Error> {
    Ok(User {
        id: UserId(row.try_get("id")?),
        username: columns::username(row.try_get("username")?)?,
        email: row.try_get("email")?,
        email_verified: row.try_get("email_verified")?,
        name: row.try_get("name")?,
        groups: row.try_get::<Json<Vec<String>>, _>("groups")?.0,
        state: columns::state(row.try_get("state")?)?,
        created_at: at(row, "user_created_at")?,
        app_users: columns::app_users(row.try_get("app_users")?),
    })
}

pub(super) fn ended(row: &SqliteRow) -> Result<Ended, sqlx::Error> {
    Ok(Ended {
        digest: columns::digest(row.try_get("digest")?)?,
        public_id: PublicId(row.try_get("public_id")?),
        user: UserId(row.try_get("user_id")?),
    })
}

pub(super) fn standing(row: &SqliteRow) -> Result<Standing, sqlx::Error> {
    Ok(Standing {
        last_seen: at(row, "last_seen_at")?,
        idle_end: at(row, "expires_at")?,
        end: at(row, "ends_at")?,
    })
}

pub(super) fn sweep(row: &SqliteRow) -> Result<Sweep, sqlx::Error> {
    Ok(Sweep {
        at: at(row, "at")?,
        took: Duration::from_micros(columns::unsigned(row.try_get("took_micros")?)),
        removed: columns::unsigned(row.try_get("removed")?),
        by_hand: row.try_get("by_hand")?,
        error: row.try_get("error")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<RecordedEvent, sqlx::Error> {
    Ok(RecordedEvent {
        at: at(row, "at")?,
        kind: row.try_get("kind")?,
        actor: row.try_get("actor")?,
        user: row.try_get::<Option<Uuid>, _>("user_id")?.map(UserId),
        username: row.try_get("username")?,
        session: row.try_get::<Option<Uuid>, _>("session_id")?.map(PublicId),
        address: columns::address(row.try_get("address")?)?,
        reason: row.try_get("reason")?,
        device: row.try_get("device")?,
        successor: row.try_get::<Option<Uuid>, _>("successor_id")?.map(PublicId),
        source: row.try_get("source")?,
    })
}

pub(super) fn ban(row: &SqliteRow) -> Result<Ban, sqlx::Error> {
    Ok(Ban {
        bucket: row.try_get("bucket")?,
        user: row.try_get::<Option<Uuid>, _>("user_id")?.map(UserId),
        username: row
            .try_get::<Option<&str>, _>("username")?
            .map(columns::username)
            .transpose()?,
        since: row.try_get::<Option<i64>, _>("banned_at")?.map(Timestamp::from_micros),
        until: at(row, "free_at")?,
    })
}
