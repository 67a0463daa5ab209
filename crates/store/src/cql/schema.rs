//! Which version the tables are at, and what leads from there to ours.

use scylla::client::session::Session;

use super::{calls, trouble};
use crate::ConnectError;

/// A version of the tables.
pub(super) struct Version {
    pub(super) number: i32,
    /// For every server.
    pub(super) script: &'static str,
    /// For `ScyllaDB` besides.
    pub(super) scylla: &'static str,
}

/// Released versions never change, and a later one only adds: a program of the version before works with its tables, too, so
/// that a cluster of services can be upgraded one by one.
pub(super) const VERSIONS: [Version; 3] = [
    Version {
        number: 1,
        script: include_str!("schema/0001.cql"),
        scylla: include_str!("schema/0001.scylla.cql"),
    },
    Version {
        number: 2,
        script: include_str!("schema/0002.cql"),
        scylla: include_str!("schema/0002.scylla.cql"),
    },
    Version { number: 3, script: include_str!("schema/0003.cql"), scylla: "" },
];

/// The table of versions, in the keyspace of the others.
pub(super) const VERSIONS_TABLE: &str = "\
CREATE TABLE IF NOT EXISTS schema_versions (
    version    int PRIMARY KEY,
    applied_at timestamp
)";

/// The version at which the tables of `keyspace` are: 0 where there are none.
pub(super) async fn version(session: &Session, keyspace: &str) -> Result<i32, ConnectError> {
    let sql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'schema_versions'";
    let tables: Vec<(String,)> = ask(session, sql, (keyspace,)).await?;
    if tables.is_empty() {
        return Ok(0);
    }
    let sql = format!("SELECT version FROM {keyspace}.schema_versions");
    let versions: Vec<(i32,)> = ask(session, &sql, ()).await?;
    Ok(versions.into_iter().map(|(version,)| version).max().unwrap_or(0))
}

/// Refuses tables that are missing or older than what this program writes. Newer ones are fine: they only have more.
pub(super) async fn check(session: &Session, keyspace: &str) -> Result<(), ConnectError> {
    let found = version(session, keyspace).await?;
    let needed = VERSIONS.last().map_or(0, |version| version.number);
    if found < needed {
        let state = match found {
            0 => "has no tables of ours".to_owned(),
            found => format!("has version {found} of the tables, this program needs {needed}"),
        };
        return Err(ConnectError::Unusable(format!(
            "the keyspace {keyspace} {state}: {}",
            trouble::MIGRATE
        )));
    }
    if needed < found {
        tracing::info!(
            keyspace,
            found,
            known = needed,
            "the store's tables are newer than this program"
        );
    }
    Ok(())
}

/// Runs a query that is not worth preparing.
pub(super) async fn ask<T>(
    session: &Session,
    sql: &str,
    values: impl scylla::serialize::row::SerializeRow,
) -> Result<Vec<T>, ConnectError>
where
    T: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>,
{
    let answer = session.query_unpaged(sql, values).await;
    let rows = answer.map_err(|error| trouble::of_call(&error)).and_then(calls::rows);
    Ok(rows?)
}

/// The statements of a script, without the comments around them.
pub(super) fn statements(script: &str) -> impl Iterator<Item = String> {
    let code = |line: &str| line.split("--").next().unwrap_or_default().trim_end().to_owned();
    let lines: Vec<_> = script.lines().map(code).filter(|line| !line.is_empty()).collect();
    let statements = lines.join("\n");
    let statements: Vec<_> = statements.split(';').map(|one| one.trim().to_owned()).collect();
    statements.into_iter().filter(|statement| !statement.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_taken_apart_into_statements() {
        let script = "-- About.\nCREATE TABLE a (\n    b int  -- why\n);\n\n-- More.\nALTER TABLE a\n    ADD c int;\n";
        let expected = ["CREATE TABLE a (\n    b int\n)", "ALTER TABLE a\n    ADD c int"];
        assert_eq!(statements(script).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn versions_ascend_and_every_statement_may_be_repeated() {
        assert!(VERSIONS.is_sorted_by(|one, next| one.number < next.number));
        for version in &VERSIONS {
            for statement in statements(version.script) {
                assert!(statement.contains("IF NOT EXISTS"), "{statement}");
            }
            for statement in statements(version.scylla) {
                assert!(statement.starts_with("ALTER TABLE"), "{statement}");
            }
        }
    }
}
