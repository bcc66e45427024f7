//! What stands against a row that is to be added, or against a table that is to be made, in words that name the fix.

use super::Finding;
use super::LegacyTable;
use super::TABLE;
use super::failed;
use super::rights::MAY_DELETE;
use super::sql;
use super::sql::quoted_table;
use crate::store::StoreError;
use crate::store::work;
use sqlx::Row;

/// The schema of a table that is not there yet: the one that its name says, or where such a name would be made.
const SCHEMA: &str = "SELECT n.nspname::text AS schema, current_user::text AS role, \
    has_schema_privilege(n.oid, 'CREATE') AS may, \
    (SELECT string_agg(c.relname::text, ', ') FROM pg_catalog.pg_class AS c WHERE c.relnamespace = n.oid \
    AND c.relname IN ('session_pkey', 'IDX_session_expire')) AS taken \
    FROM pg_catalog.pg_namespace AS n WHERE n.nspname = COALESCE($1, current_schema())";
const MAY_INSERT: &str = "SELECT has_column_privilege(to_regclass($1)::oid, $2, 'INSERT') AS may";
/// Columns that a row must have and that nobody here fills in.
const DEMANDED: &str = "SELECT a.attname::text AS name FROM pg_catalog.pg_attribute AS a \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef \
    AND a.attidentity = '' AND NOT a.attname::text = ANY ($2) ORDER BY 1";

impl LegacyTable {
    /// What would become of a table that is not there and that the source may make.
    pub(super) async fn planned(&self) -> Result<Finding, StoreError> {
        let table = &self.settings.table;
        let schema = table.split_once('.').map(|(schema, _)| schema.to_owned());
        let query = || sqlx::query(SCHEMA).bind(schema.clone()).persistent(false);
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        let Some(row) = rows.first() else {
            let schema = schema.map_or_else(
                || "the role's search_path".to_owned(),
                |schema| format!("schema {schema}"),
            );
            return Ok(Finding::fault(format!(
                "there is no table {table}, and it cannot be made: {schema} does not exist; CREATE SCHEMA is yours to do"
            )));
        };
        let schema: String = row.try_get("schema").map_err(failed)?;
        let role: String = row.try_get("role").map_err(failed)?;
        if !row.try_get::<bool, _>("may").map_err(failed)? {
            return Ok(Finding::fault(format!(
                "there is no table {table}, and {role} may not make it: GRANT CREATE ON SCHEMA {} TO {}",
                sql::quoted(&schema),
                sql::quoted(&role)
            )));
        }
        if let Some(taken) = row.try_get::<Option<String>, _>("taken").map_err(failed)? {
            return Ok(Finding::fault(format!(
                "there is no table {table}, and it cannot be made: schema {schema} has {taken} already, of another table; \
                 connect-pg-simple would fail likewise. Make the table by hand, with other names for these"
            )));
        }
        Ok(Finding::warning(format!(
            "there is no table {table}: the gateway makes it in schema {schema} when it starts, as connect-pg-simple would; \
             it will be {role}'s, so GRANT SELECT, INSERT, UPDATE, DELETE ON {} to the application's role where that is \
             another",
            quoted_table(table)
        )))
    }

    /// Whether rows may be added and, at a log-out, deleted.
    pub(super) async fn may_open(&self) -> Result<Vec<Finding>, StoreError> {
        let table = quoted_table(&self.settings.table);
        let (expiry, _) = self.settings.expiry.moment();
        let mut filled = vec![self.settings.key.as_str(), expiry];
        filled.extend(self.settings.payload.as_deref());
        let mut lacking = Vec::new();
        for column in &filled {
            if !self.asked(MAY_INSERT, &[&table, column]).await? {
                lacking.push(sql::quoted(column));
            }
        }
        let mut rights = Vec::new();
        if !lacking.is_empty() {
            rights.push(format!("INSERT ({})", lacking.join(", ")));
        }
        if !self.asked(MAY_DELETE, &[&table]).await? {
            rights.push("DELETE".to_owned());
        }
        let (mut findings, role) = (Vec::new(), self.role().await?);
        findings.push(if rights.is_empty() {
            Finding::fine("the role may add rows, and delete them at a log-out")
        } else {
            Finding::fault(format!(
                "open = true, and the role may not add rows or delete them at a log-out: GRANT {} ON {table} TO {role}",
                rights.join(", ")
            ))
        });
        let names: Vec<String> = filled.iter().map(|name| (*name).to_owned()).collect();
        let query = || {
            sqlx::query(DEMANDED)
                .bind(table.clone())
                .bind(names.clone())
                .persistent(false)
        };
        let rows = work::read::<sqlx::Postgres>(&self.pool, TABLE, query).await?;
        for row in &rows {
            let name: String = row.try_get("name").map_err(failed)?;
            findings.push(Finding::fault(format!(
                "open = true, and a row must have {name:?}, which nothing here fills in: give the column a default"
            )));
        }
        Ok(findings)
    }
}
