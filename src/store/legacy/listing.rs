//! Many rows of an application's sessions, for people who look at them and end them; never on the way of a request.

use super::LegacyRow;
use super::LegacySettings;
use super::LegacyTable;
use super::catalog::Catalog;
use super::failed;
use super::row;
use super::sql;
use super::sql::Statements;
use super::sql::quoted;
use super::sql::quoted_table;
use crate::store::StoreError;
use crate::store::work::within;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::sync::Arc;
use std::time::Duration;

/// Every row is looked at, so a call may take longer than a look-up. One at a time, for whoever asks again and again would
/// take all connections, and nobody could be looked up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A row with its key, which may be as good as a password: it is shown to nobody, and cannot be printed.
pub struct ListedRow {
    /// The key as text.
    pub key: String,
    /// Its SHA-256, by which lists go on.
    pub hash: [u8; 32],
    /// The row.
    pub row: LegacyRow,
}

/// Which live rows.
#[derive(Clone, Copy, Debug)]
pub enum Listed<'a> {
    /// All.
    All,
    /// At least those in which this subject stands in a column, or in a payload that is text.
    Of(&'a str),
}

impl LegacyTable {
    /// Live rows in the order of the hash of their key, after `after`, at most `limit`. Reads the whole table; ends within
    /// ten seconds.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn list(
        &self,
        which: Listed<'_>,
        after: Option<[u8; 32]>,
        limit: u32,
    ) -> Result<Vec<ListedRow>, StoreError> {
        within(PATIENCE, async {
            let _turn = self.turn.lock().await;
            let query = |sql: &Statements| {
                let text = match which {
                    Listed::All => &sql.list,
                    Listed::Of(_) => &sql.list_of,
                };
                let query = self.query(text).bind(after.map_or(Vec::new(), |after| after.to_vec()));
                let query = super::bound(query, sql.zone.as_deref()).bind(i64::from(limit));
                match which {
                    Listed::All => query,
                    Listed::Of(subject) => query.bind(subject.to_owned()),
                }
            };
            let rows = self.rows(query).await?;
            rows.iter().map(keyed).collect::<Result<_, _>>().map_err(failed)
        })
        .await
    }

    /// The live row whose public id is `id`, as it is made from `label` and the hash of the key
    /// (`session::source::public_id`); `None` when there is none. Reads the whole table; ends within ten seconds.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn show(&self, id: [u8; 16], label: &[u8]) -> Result<Option<ListedRow>, StoreError> {
        within(PATIENCE, async {
            let _turn = self.turn.lock().await;
            let query = |sql: &Statements| {
                let query = self.query(&sql.show).bind(id.to_vec());
                super::bound(query, sql.zone.as_deref()).bind(label.to_vec())
            };
            let rows = self.rows(query).await?;
            match rows.as_slice() {
                [one] => keyed(one).map(Some).map_err(failed),
                _ => Ok(None),
            }
        })
        .await
    }
}

fn keyed(found: &PgRow) -> Result<ListedRow, sqlx::Error> {
    let hash: Vec<u8> = found.try_get("hash")?;
    Ok(ListedRow {
        key: found.try_get("key")?,
        hash: hash.try_into().unwrap_or_default(),
        row: row(found)?,
    })
}

/// The parts of the statements; parameters behind `$1` move by one where the zone is `$2`.
pub(super) struct Listing {
    select: String,
    hash: String,
    first: usize,
    /// What a row must hold for `{subject}` to stand in it.
    holds: String,
}

impl Listing {
    pub(super) fn new(
        settings: &LegacySettings,
        catalog: &Catalog,
        end: &str,
        zoned: bool,
    ) -> Result<Self, StoreError> {
        let key = format!("t.{}::text", quoted(&settings.key));
        let hash = format!("sha256(convert_to({key}, 'UTF8'))");
        let select = format!(
            "SELECT {key} AS key, {hash} AS hash, {payload} AS payload, {verify} AS verify, {columns} AS columns, \
             {left} AS left_seconds \
             FROM {table} AS t WHERE {end} > clock_timestamp() AND {key} IS NOT NULL",
            left = sql::left_of(end),
            payload = sql::bytes(settings.payload.as_deref(), catalog)?,
            verify = sql::bytes(settings.verify.as_deref(), catalog)?,
            columns = sql::object("t", &settings.columns),
            table = quoted_table(&settings.table),
        );
        let columns = settings
            .columns
            .iter()
            .map(|column| format!("t.{}::text = {{subject}}", quoted(column)));
        let payload = settings.payload.as_deref().map(|payload| {
            let bytes = sql::bytes(Some(payload), catalog)?;
            Ok::<_, StoreError>(format!("position(convert_to({{subject}}, 'UTF8') IN {bytes}) > 0"))
        });
        let holds: Vec<String> = columns.map(Ok).chain(payload).collect::<Result<_, _>>()?;
        Ok(Self {
            select,
            hash,
            first: if zoned { 3 } else { 2 },
            holds: holds.join(" OR "),
        })
    }

    fn page(&self, more: &str) -> Arc<str> {
        let Self {
            select, hash, first, ..
        } = self;
        format!("{select} AND {hash} > $1::bytea{more} ORDER BY {hash} LIMIT ${first}::bigint").into()
    }

    pub(super) fn all(&self) -> Arc<str> {
        self.page("")
    }

    pub(super) fn of_subject(&self) -> Arc<str> {
        let subject = format!("${}::text", self.first + 1);
        // A mapping without any place for its user names nobody.
        let holds = if self.holds.is_empty() { "false" } else { &self.holds };
        self.page(&format!(
            " AND ({subject} IS NOT NULL AND ({}))",
            holds.replace("{subject}", &subject)
        ))
    }

    /// As `named_uuid` makes it of the row's digest.
    pub(super) fn of_public_id(&self) -> Arc<str> {
        let Self {
            select, hash, first, ..
        } = self;
        let digest = format!("encode(sha256(${first}::bytea || {hash}), 'hex')");
        let id = format!(
            "sha256(convert_to('session', 'UTF8') || '\\x00'::bytea || convert_to({digest}, 'UTF8') || '\\x00'::bytea)"
        );
        format!(
            "{select} AND substring($1::bytea FROM 1 FOR 6) = substring({id} FROM 1 FOR 6) \
             AND set_byte(set_byte(substring({id} FROM 1 FOR 16), 6, (get_byte({id}, 6) & 15) | 128), \
             8, (get_byte({id}, 8) & 63) | 128) = $1::bytea LIMIT 2"
        )
        .into()
    }
}
