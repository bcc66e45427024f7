//! What the role of `store_url` may do, as far as the source's settings want it; each lack in words that name its fix.

use super::Finding;
use super::LegacyTable;
use super::TABLE;
use super::failed;
use super::settings::UserTable;
use super::sql::quoted;
use super::sql::quoted_table;
use crate::store::StoreError;
use crate::store::work;
use sqlx::Row;

/// A schema that is not there is told as a table that is not there.
const MAY_LOOK: &str = "SELECT COALESCE(has_schema_privilege(to_regnamespace($1)::oid, 'USAGE'), true) AS may";
const MAY_READ: &str = "SELECT has_column_privilege(to_regclass($1)::oid, $2, 'SELECT') AS may";
const MAY_CHANGE: &str = "SELECT has_column_privilege(to_regclass($1)::oid, $2, 'UPDATE') AS may";
pub(super) const MAY_DELETE: &str = "SELECT has_table_privilege(to_regclass($1)::oid, 'DELETE') AS may";
const ROLE: &str = "SELECT quote_ident(current_user) AS role";

impl UserTable {
    /// Every column that is named.
    pub(super) fn named(&self) -> Vec<&str> {
        self.columns.iter().chain([&self.key]).map(String::as_str).collect()
    }
}

impl LegacyTable {
    /// A fault for each schema that the role may not look into: nothing can be said of what is in there.
    pub(super) async fn closed_schemas(&self) -> Result<Vec<Finding>, StoreError> {
        let users = self.settings.users.as_ref().map(|users| users.table.as_str());
        let tables = [self.settings.table.as_str()].into_iter().chain(users);
        let mut schemas: Vec<String> = tables
            .filter_map(|table| table.split_once('.'))
            .map(|(schema, _)| quoted(schema))
            .collect();
        schemas.dedup();
        let mut findings = Vec::new();
        for schema in schemas {
            if !self.asked(MAY_LOOK, &[&schema]).await? {
                let role = self.role().await?;
                findings.push(Finding::fault(format!(
                    "the role may not look into schema {schema}: GRANT USAGE ON SCHEMA {schema} TO {role}"
                )));
            }
        }
        Ok(findings)
    }

    /// Whether everything that the settings want is allowed, and nothing that they do not.
    pub(super) async fn rights(&self) -> Result<Vec<Finding>, StoreError> {
        let table = quoted_table(&self.settings.table);
        let role = self.role().await?;
        let mut findings = Vec::new();
        findings.extend(self.unreadable(&table, &self.named(), &role).await?);
        if let Some(users) = &self.settings.users {
            let table = quoted_table(&users.table);
            findings.extend(self.unreadable(&table, &users.named(), &role).await?);
        }
        if findings.is_empty() {
            findings.push(Finding::fine("the role may read what is asked for"));
        }
        let column = self.settings.expiry.moment().0;
        if self.settings.may_touch && !self.asked(MAY_CHANGE, &[&table, column]).await? {
            let column = quoted(column);
            findings.push(Finding::fault(format!(
                "touch = true, and the role may not change {column}: GRANT UPDATE ({column}) ON {table} TO {role}"
            )));
        }
        let may_delete = self.asked(MAY_DELETE, &[&table]).await?;
        if self.settings.adding.rows {
            findings.extend(self.may_open().await?);
        }
        match (self.settings.may_end, may_delete || self.settings.adding.rows) {
            (true, false) => findings.push(Finding::fault(format!(
                "end = true, and the role may not delete rows: GRANT DELETE ON {table} TO {role}"
            ))),
            (false, true) if !self.settings.adding.rows => findings.push(Finding::warning(
                "the role may delete rows, which nothing here needs: a role that may only read is safer",
            )),
            _ => {}
        }
        Ok(findings)
    }

    async fn unreadable(&self, table: &str, named: &[&str], role: &str) -> Result<Option<Finding>, StoreError> {
        let mut lacking = Vec::new();
        for column in named {
            if !self.asked(MAY_READ, &[table, column]).await? && !lacking.contains(&quoted(column)) {
                lacking.push(quoted(column));
            }
        }
        let list = lacking.join(", ");
        Ok((!lacking.is_empty()).then(|| {
            Finding::fault(format!(
                "the role may not read {list}: GRANT SELECT ({list}) ON {table} TO {role}"
            ))
        }))
    }

    /// Who asks, as a statement names it.
    pub(super) async fn role(&self) -> Result<String, StoreError> {
        let query = || sqlx::query(ROLE).persistent(false);
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        let row = rows.first().ok_or(StoreError::NotReady)?;
        row.try_get("role").map_err(failed)
    }

    /// A question that is answered by yes or no; what cannot be said is no.
    pub(super) async fn asked(&self, question: &'static str, values: &[&str]) -> Result<bool, StoreError> {
        let query = || {
            let query = sqlx::query(question).persistent(false);
            values
                .iter()
                .fold(query, |query, value| query.bind((*value).to_owned()))
        };
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        let answer = rows
            .first()
            .map(|row| row.try_get::<Option<bool>, _>("may"))
            .transpose();
        Ok(answer.map_err(failed)?.flatten().unwrap_or(false))
    }
}
