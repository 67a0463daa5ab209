//! From settings to a store.

use std::{path::Path, sync::Arc};

use crate::{
    StoreSettings, VerdictStore,
    sqlite::{SqliteSettings, SqliteStore},
};

/// What a store's URL may look like, for messages.
const KNOWN: &str = "sqlite:PATH";

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

/// Opens the store that `settings` name.
///
/// `sqlite:PATH` is a file, made where there is none, its tables upgraded; the path is relative to the working directory unless
/// it starts with `/`.
pub async fn connect(settings: &StoreSettings) -> Result<Arc<dyn VerdictStore>, ConnectError> {
    let url = settings.url();
    let invalid = |reason| ConnectError::InvalidUrl { url: url.to_owned(), reason };
    let (scheme, rest) = url.split_once(':').ok_or_else(|| invalid("it has no scheme"))?;
    match scheme {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path == ":memory:" {
                return Err(invalid("a file is needed, so that verdicts outlive the process"));
            }
            let path = Path::new(path).to_path_buf();
            let opening = move || SqliteStore::open(&path, &SqliteSettings::default());
            // Opening waits for locks and upgrades tables: too long for a thread that others share.
            let store = tokio::task::spawn_blocking(opening)
                .await
                .map_err(|error| ConnectError::Unavailable(error.to_string()))??;
            Ok(Arc::new(store))
        }
        _ => Err(invalid("its scheme is unknown")),
    }
}
