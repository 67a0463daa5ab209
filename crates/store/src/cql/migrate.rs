//! Making and upgrading the tables: what `verdict store migrate` does.
//!
//! Idempotent, and harmless when two do it at once: every statement may be repeated, a version is noted only after its last one,
//! and each statement waits until all nodes agree. Cassandra does not order changes that two clients make through two nodes at
//! the same moment, so that there it is better done by one.

use std::{fmt, str::FromStr, time::Duration};

use scylla::{client::session::Session, value::CqlTimestamp};
use tokio::time::sleep;

use super::{
    address::Address,
    schema::{self, VERSIONS, VERSIONS_TABLE},
    session,
};
use crate::{ConnectError, StoreError, StoreSettings, cql::trouble};

/// Longest wait for one change of the tables: all nodes have to follow.
const CHANGE_WAIT_MAX: Duration = Duration::from_mins(1);
/// A change that meets another one is tried again, so often and after such a pause.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// Copies of each row where nothing is said, if there are as many nodes.
const COPIES: usize = 3;

/// How many nodes of which datacenter keep a copy of each row: `3`, or `dc1:3,dc2:3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication(Vec<(String, u8)>);

/// A text that is no replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as a number of copies, or as DATACENTER:COPIES[,DATACENTER:COPIES...]")]
pub struct InvalidReplication;

/// What `migrate` did, or would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The version that the tables had; 0 where there were none.
    pub from: i32,
    /// The version that they have now.
    pub to: i32,
    /// The statements, in order.
    pub statements: Vec<String>,
}

/// One statement, and the version that it completes, if any.
struct Step {
    statement: String,
    completes: Option<i32>,
}

/// Brings the tables that `settings` name to our version; with `dry_run` it only says how. `replication` is for a keyspace that
/// is not there yet.
pub(crate) async fn migrate(
    settings: &StoreSettings,
    address: &Address,
    replication: Option<&Replication>,
    dry_run: bool,
) -> Result<Migration, ConnectError> {
    let session = session::open(settings, address, CHANGE_WAIT_MAX).await?;
    let from = schema::version(&session, &address.keyspace).await?;
    let steps = steps(&session, &address.keyspace, from, replication).await?;
    if !dry_run {
        for step in &steps {
            change(&session, &address.keyspace, step).await?;
        }
    }
    let to = VERSIONS.last().map_or(from, |version| version.number.max(from));
    Ok(Migration { from, to, statements: steps.into_iter().map(|step| step.statement).collect() })
}

async fn steps(
    session: &Session,
    keyspace: &str,
    from: i32,
    replication: Option<&Replication>,
) -> Result<Vec<Step>, ConnectError> {
    let mut steps = Vec::new();
    let mut add = |statement: String| steps.push(Step { statement, completes: None });
    let sql = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let keyspaces: Vec<(String,)> = schema::ask(session, sql, (keyspace,)).await?;
    if keyspaces.is_empty() {
        let replication = match replication {
            Some(replication) => replication.to_string(),
            None => Replication::of_nodes(session.get_cluster_state().get_nodes_info().len())
                .to_string(),
        };
        add(format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}"));
    }
    if from == 0 {
        add(in_keyspace(VERSIONS_TABLE, keyspace));
    }
    let is_scylla = is_scylla(session).await?;
    for version in VERSIONS.iter().filter(|version| from < version.number) {
        let scylla = if is_scylla { version.scylla } else { "" };
        let both = schema::statements(version.script).chain(schema::statements(scylla));
        let first = steps.len();
        steps.extend(both.map(|statement| Step {
            statement: in_keyspace(&statement, keyspace),
            completes: None,
        }));
        if let Some(last) = steps.get_mut(first..).and_then(<[_]>::last_mut) {
            last.completes = Some(version.number);
        }
    }
    Ok(steps)
}

/// Only `ScyllaDB` has this table, in every version.
async fn is_scylla(session: &Session) -> Result<bool, ConnectError> {
    let sql = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = 'system' AND table_name = 'scylla_local'";
    let tables: Vec<(String,)> = schema::ask(session, sql, ()).await?;
    Ok(!tables.is_empty())
}

/// The scripts name tables only: in which keyspace they are, the URL says.
fn in_keyspace(statement: &str, keyspace: &str) -> String {
    for begin in ["CREATE TABLE IF NOT EXISTS ", "ALTER TABLE "] {
        if let Some(rest) = statement.strip_prefix(begin) {
            return format!("{begin}{keyspace}.{rest}");
        }
    }
    statement.to_owned()
}

/// Runs one step until it is done; a change that came at the same time may stand in the way for a moment.
async fn change(session: &Session, keyspace: &str, step: &Step) -> Result<(), ConnectError> {
    let mut attempt = 1;
    loop {
        // The driver returns once all nodes agree on the tables.
        let changed = session.query_unpaged(step.statement.as_str(), ()).await;
        match changed.map_err(|error| trouble::of_call(&error)) {
            Ok(_) => break,
            Err(StoreError::Unavailable(reason)) if attempt < ATTEMPTS => {
                tracing::warn!(reason, attempt, "the tables are not changed yet, trying again");
                attempt += 1;
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(version) = step.completes {
        let sql =
            format!("INSERT INTO {keyspace}.schema_versions (version, applied_at) VALUES (?, ?)");
        let now = CqlTimestamp(chassis::clock::now().as_millisecond());
        let noted = session.query_unpaged(sql, (version, now)).await;
        noted.map_err(|error| trouble::of_call(&error))?;
    }
    Ok(())
}

impl Replication {
    fn of_nodes(nodes: usize) -> Self {
        let copies = u8::try_from(nodes.clamp(1, COPIES)).unwrap_or(1);
        Self(vec![("replication_factor".to_owned(), copies)])
    }
}

impl FromStr for Replication {
    type Err = InvalidReplication;

    fn from_str(text: &str) -> Result<Self, InvalidReplication> {
        let copies = |text: &str| match text.parse::<u8>() {
            Ok(copies) if 0 < copies => Ok(copies),
            _ => Err(InvalidReplication),
        };
        if !text.contains(':') {
            return Ok(Self(vec![("replication_factor".to_owned(), copies(text)?)]));
        }
        let one = |part: &str| {
            let (datacenter, number) = part.split_once(':').ok_or(InvalidReplication)?;
            let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            if datacenter.is_empty() || !datacenter.chars().all(is_letter) {
                return Err(InvalidReplication);
            }
            Ok((datacenter.to_owned(), copies(number)?))
        };
        Ok(Self(text.split(',').map(one).collect::<Result<_, _>>()?))
    }
}

/// As CQL has it.
impl fmt::Display for Replication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("{'class': 'NetworkTopologyStrategy'")?;
        for (datacenter, copies) in &self.0 {
            write!(formatter, ", '{datacenter}': {copies}")?;
        }
        formatter.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_is_a_number_or_a_list_of_datacenters() {
        let check = |text: &str, expected: &str| {
            let shown = text.parse::<Replication>().unwrap().to_string();
            assert_eq!(shown, format!("{{'class': 'NetworkTopologyStrategy', {expected}}}"));
        };
        check("3", "'replication_factor': 3");
        check("dc1:3,eu-west:2", "'dc1': 3, 'eu-west': 2");
        for wrong in ["", "0", "three", "dc1:", ":3", "dc1:3,", "dc1:3;drop", "d'c:3", "256"] {
            assert!(wrong.parse::<Replication>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn there_are_three_copies_where_there_are_three_nodes() {
        for (nodes, copies) in [(0, 1), (1, 1), (2, 2), (3, 3), (30, 3)] {
            assert_eq!(Replication::of_nodes(nodes), copies.to_string().parse().unwrap());
        }
    }
}
