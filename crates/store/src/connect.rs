//! From settings to a store.

use std::{path::PathBuf, sync::Arc};

use chassis::exit::Ending;

use crate::{
    StoreError, StoreSettings, VerdictStore,
    cql::{
        CqlStore,
        address::Address,
        migrate::{Migration, Replication},
    },
    sqlite::{SqliteSettings, SqliteStore},
};

/// What a store's URL may look like, for messages.
const KNOWN: &str = "sqlite:PATH and cql://HOST:PORT[,HOST:PORT...]/KEYSPACE";

/// Why there is no store behind the settings, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL of a store that we know. Exit: the settings are wrong.
    #[error("`{url}` is not the URL of a store: {reason}; known are {KNOWN}")]
    InvalidUrl {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The store is busy or away. Back off and try again.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The store is not ours, damaged or too new. Exit: an operator has to act, and the message says how.
    #[error("{0}")]
    Unusable(String),
}

impl ConnectError {
    /// What a process that ends with it asks for.
    pub fn ending(&self) -> Ending {
        match self {
            Self::InvalidUrl { .. } => Ending::Misconfigured,
            Self::Unavailable(_) | Self::Unusable(_) => Ending::Unreachable,
        }
    }

    /// The same with where it was: a server that is away does not say which it is.
    fn at(self, address: &Address) -> Self {
        match self {
            Self::Unavailable(reason) => Self::Unavailable(format!(
                "no CQL server answers at {}: {reason}; start one there, or change `store.url`",
                address.nodes.join(",")
            )),
            other => other,
        }
    }
}

/// What a URL names.
enum Place {
    File(PathBuf),
    Cluster(Address),
}

/// Opens the store that `settings` name.
///
/// `sqlite:PATH` is a file, made where there is none, its tables upgraded; the path is relative to the working directory unless
/// it starts with `/`. The tables on a CQL server have to be there: [`migrate`] makes them.
pub async fn connect(settings: &StoreSettings) -> Result<Arc<dyn VerdictStore>, ConnectError> {
    match place(settings.url())? {
        Place::File(path) => Ok(Arc::new(open_file(path).await?)),
        Place::Cluster(address) => {
            let store = CqlStore::connect(settings, &address).await;
            Ok(Arc::new(store.map_err(|error| error.at(&address))?))
        }
    }
}

/// Makes or upgrades the tables that `settings` name; with `dry_run` it only says what it would do. `replication` is for a
/// keyspace that is not there yet: where it is `None`, three nodes keep each row, or all where there are fewer.
///
/// A file has its tables made when it is opened: `None`.
pub async fn migrate(
    settings: &StoreSettings,
    replication: Option<&Replication>,
    dry_run: bool,
) -> Result<Option<Migration>, ConnectError> {
    match place(settings.url())? {
        Place::File(_) if dry_run => Ok(None),
        Place::File(path) => {
            open_file(path).await?;
            Ok(None)
        }
        Place::Cluster(address) => {
            let migration =
                crate::cql::migrate::migrate(settings, &address, replication, dry_run).await;
            Ok(Some(migration.map_err(|error| error.at(&address))?))
        }
    }
}

fn place(url: &str) -> Result<Place, ConnectError> {
    let invalid = |reason| ConnectError::InvalidUrl { url: shown(url), reason };
    let (scheme, rest) = url.split_once(':').ok_or_else(|| invalid("it has no scheme"))?;
    match scheme {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path == ":memory:" {
                return Err(invalid("a file is needed, so that verdicts outlive the process"));
            }
            Ok(Place::File(PathBuf::from(path)))
        }
        "cql" => Address::parse(rest).map(Place::Cluster).map_err(invalid),
        _ => Err(invalid("its scheme is unknown")),
    }
}

/// The URL without what stands before an `@`, which may be a password.
fn shown(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_secret, rest)) => format!("***@{rest}"),
        None => url.to_owned(),
    }
}

/// Opening waits for locks and upgrades tables: too long for a thread that others share.
async fn open_file(path: PathBuf) -> Result<SqliteStore, ConnectError> {
    let opening = move || SqliteStore::open(&path, &SqliteSettings::default());
    tokio::task::spawn_blocking(opening)
        .await
        .map_err(|error| ConnectError::Unavailable(error.to_string()))?
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => Self::Unavailable(reason),
            // What is refused while connecting will not be taken later.
            StoreError::Refused(reason) | StoreError::Unusable(reason) => Self::Unusable(reason),
        }
    }
}
