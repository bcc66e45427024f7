//! What the database itself says of an application's tables: types decide how a key is compared and an end is read.

use super::LegacySettings;
use super::TABLE;
use super::Zone;
use super::failed;
use super::sql::quoted_table;
use crate::store::StoreError;
use crate::store::pool::Pool;
use crate::store::work;
use sqlx::PgConnection;
use sqlx::Row;
use std::collections::HashMap;
use std::sync::Arc;

/// As far as types make a difference here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnType {
    Text,
    Char,
    Uuid,
    Integer,
    Bytes,
    Json,
    Timestamp,
    TimestampZoned,
    Other,
}

impl ColumnType {
    /// By the name of `pg_type`.
    fn of(name: &str) -> Self {
        match name {
            "text" | "varchar" | "name" => Self::Text,
            "bpchar" => Self::Char,
            "uuid" => Self::Uuid,
            "int2" | "int4" | "int8" => Self::Integer,
            "bytea" => Self::Bytes,
            "json" | "jsonb" => Self::Json,
            "timestamp" => Self::Timestamp,
            "timestamptz" => Self::TimestampZoned,
            _ => Self::Other,
        }
    }
}

/// Columns with their types, and the zone of times without one.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    columns: HashMap<String, ColumnType>,
    users: HashMap<String, ColumnType>,
    /// An IANA name, or `UTC`.
    pub(super) zone: String,
}

const COLUMNS: &str = "SELECT a.attname::text AS name, t.typname::text AS type \
    FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

/// What `ALTER ROLE … IN DATABASE`, `ALTER ROLE` and `ALTER DATABASE` set, the strongest first. The driver sends a zone of
/// its own with every connection, so that `current_setting` would only repeat it.
const ZONE: &str = "SELECT split_part(entry, '=', 2) AS zone \
    FROM pg_catalog.pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS entry \
    WHERE split_part(entry, '=', 1) ILIKE 'timezone' \
    AND s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
    AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = COALESCE($1, current_user::text))) \
    ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1";

impl Catalog {
    /// Asks. A table or column that is not there is an error of the store, never an absent row.
    pub(super) async fn read(pool: &Arc<Pool<PgConnection>>, settings: &LegacySettings) -> Result<Self, StoreError> {
        let columns = columns_of(pool, &settings.table).await?;
        let users = match &settings.users {
            Some(users) => columns_of(pool, &users.table).await?,
            None => HashMap::new(),
        };
        let zone = match &settings.zone {
            Zone::Utc => "UTC".to_owned(),
            Zone::Named(zone) => zone.clone(),
            Zone::Session { role } => zone_of(pool, role.clone()).await?,
        };
        Ok(Self { columns, users, zone })
    }

    /// Whether there is no such table.
    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    pub(super) fn type_of(&self, column: &str) -> Result<ColumnType, StoreError> {
        find(&self.columns, column)
    }

    pub(super) fn type_of_user(&self, column: &str) -> Result<ColumnType, StoreError> {
        find(&self.users, column)
    }

    #[cfg(test)]
    pub(super) fn of(columns: &[(&str, &str)], users: &[(&str, &str)], zone: &str) -> Self {
        let map = |pairs: &[(&str, &str)]| {
            let typed = pairs
                .iter()
                .map(|(name, kind)| ((*name).to_owned(), ColumnType::of(kind)));
            typed.collect()
        };
        Self {
            columns: map(columns),
            users: map(users),
            zone: zone.to_owned(),
        }
    }
}

fn find(columns: &HashMap<String, ColumnType>, column: &str) -> Result<ColumnType, StoreError> {
    let found = columns.get(column).copied();
    found.ok_or_else(|| StoreError::on(TABLE, sqlx::Error::ColumnNotFound(column.to_owned())))
}

pub(super) async fn columns_of(
    pool: &Arc<Pool<PgConnection>>,
    table: &str,
) -> Result<HashMap<String, ColumnType>, StoreError> {
    let quoted = quoted_table(table);
    let query = || sqlx::query(COLUMNS).bind(quoted.clone()).persistent(false);
    let rows = work::read::<sqlx::Postgres>(pool, TABLE, query).await?;
    let column = |row: &sqlx::postgres::PgRow| {
        let name: String = row.try_get("name")?;
        let kind: String = row.try_get("type")?;
        Ok((name, ColumnType::of(&kind)))
    };
    rows.iter()
        .map(column)
        .collect::<Result<_, sqlx::Error>>()
        .map_err(failed)
}

/// UTC where nothing is set: what a server has in its own file cannot be seen by everybody, and the check against live
/// rows tells when it is another.
async fn zone_of(pool: &Arc<Pool<PgConnection>>, role: Option<String>) -> Result<String, StoreError> {
    let query = || sqlx::query(ZONE).bind(role.clone()).persistent(false);
    let rows = work::read::<sqlx::Postgres>(pool, TABLE, query).await?;
    let zone = rows.first().map(|row| row.try_get::<String, _>("zone")).transpose();
    Ok(zone.map_err(failed)?.unwrap_or_else(|| "UTC".to_owned()))
}
