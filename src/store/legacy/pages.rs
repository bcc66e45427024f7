use super::LegacyRow;
use super::LegacyTable;
use super::TABLE;
use super::catalog::Catalog;
use super::failed;
use super::row;
use super::sql;
use super::sql::PageStatements;
use crate::store::StoreError;
use crate::store::work;
use crate::store::work::within;
use sqlx::Row;

/// Rows of one page.
const ROWS: u32 = 200;

/// A table from its first key to its last, a page at a time: what is held does not grow with it.
pub struct LegacyPages<'a> {
    table: &'a LegacyTable,
    sql: PageStatements,
    after: Option<String>,
    is_done: bool,
}

/// A row met on the way through a table.
#[derive(Clone, Debug)]
pub struct KeyedRow {
    /// The key as text; whoever has it may be able to sign in.
    pub key: String,
    /// Whether another row has the same key, so that nobody knows which one counts.
    pub is_ambiguous: bool,
    /// The row.
    pub row: LegacyRow,
}

impl LegacyTable {
    /// All rows in the order of their keys. A row that is written meanwhile is met or not.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn pages(&self) -> Result<LegacyPages<'_>, StoreError> {
        within(self.settings.call_timeout, async {
            let catalog = Catalog::read(&self.pool, &self.settings).await?;
            Ok(LegacyPages {
                table: self,
                sql: sql::pages(&self.settings, &catalog, ROWS)?,
                after: None,
                is_done: false,
            })
        })
        .await
    }
}

impl LegacyPages<'_> {
    /// The next rows; none at the end. After an error the same page can be asked for again.
    ///
    /// # Errors
    /// Could not ask.
    pub async fn next(&mut self) -> Result<Vec<KeyedRow>, StoreError> {
        if self.is_done {
            return Ok(Vec::new());
        }
        let page = within(self.table.settings.call_timeout, self.page()).await?;
        let mut rows = page;
        self.is_done = rows.len() <= ROWS as usize;
        // The one too many tells whether the last one's key stands twice.
        rows.truncate(ROWS as usize);
        if let Some(last) = rows.last() {
            self.after = Some(last.key.clone());
        }
        Ok(rows)
    }

    async fn page(&self) -> Result<Vec<KeyedRow>, StoreError> {
        let table = self.table;
        let query = || match &self.after {
            None => table.query(&self.sql.first).bind(self.sql.zone.clone()),
            Some(key) => {
                let next = table.query(&self.sql.next).bind(self.sql.zone.clone());
                next.bind(key.clone())
            }
        };
        let found = work::read::<sqlx::Postgres>(&table.pool, TABLE, query).await?;
        let keys: Vec<Option<String>> = found
            .iter()
            .map(|row| row.try_get("key"))
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        let is_ambiguous = |at: usize| {
            let same = |other: Option<usize>| other.and_then(|other| keys.get(other)) == Some(&keys[at]);
            same(at.checked_sub(1)) || same(at.checked_add(1))
        };
        let mut rows = Vec::with_capacity(found.len());
        for (at, read) in found.iter().enumerate() {
            // A row without a key is nobody's.
            if let Some(key) = &keys[at] {
                rows.push(KeyedRow {
                    key: key.clone(),
                    is_ambiguous: is_ambiguous(at),
                    row: row(read).map_err(failed)?,
                });
            }
        }
        Ok(rows)
    }
}
