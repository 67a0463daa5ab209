//! How to reach the store: the section `[store]`.

use std::{path::PathBuf, time::Duration};

use chassis::{Secret, settings::duration, telemetry::certificates::CertificateFile};
use serde::{Deserialize, Serialize};

/// The store where none is set.
const URL_DEFAULT: &str = "sqlite:verdicts.db";

/// The section `[store]`. All but `url` is for CQL only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSettings {
    /// `sqlite:PATH`, or `cql://HOST:PORT[,HOST:PORT...]/KEYSPACE`. Empty: the file `verdicts.db`, in the data folder of
    /// `verdict` or in the working directory of a service on its own.
    pub url: String,
    /// User, where the server asks for one.
    pub username: String,
    /// The user's password, as text or as `{ file = "/run/secrets/store" }`.
    pub password: Secret,
    /// Encryption.
    pub tls: StoreTls,
    /// The datacenter whose nodes are asked, and whose quorum decides. Empty: that of the nodes in `url`.
    pub datacenter: String,
    /// How long a verdict is kept, from its scoring on, and a refused record, from its refusal on; `0s` for ever.
    #[serde(with = "duration")]
    pub ttl: Duration,
    /// Most requests that are under way at once; 0 for 32 for each shard of the cluster (a node of Cassandra counts as one).
    pub in_flight_max: usize,
    /// Longest wait for one answer, attempts of ours included. Past it a call is answered `Unavailable`.
    #[serde(with = "duration")]
    pub answer_wait_max: Duration,
    /// Longest wait for one connection to be made.
    #[serde(with = "duration")]
    pub connect_wait_max: Duration,
}

/// Encryption of what goes to the store and comes from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreTls {
    /// Whether connections are encrypted, and the server's certificate checked.
    pub enabled: bool,
    /// File with the certificates (PEM) of those who may sign the server's. Empty: those that the system trusts.
    pub ca: PathBuf,
    /// File with our certificate and what leads up to it (PEM), where the server asks for one.
    pub certificate: PathBuf,
    /// File with the private key of our certificate (PEM).
    pub key: PathBuf,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            username: String::new(),
            password: Secret::default(),
            tls: StoreTls::default(),
            datacenter: String::new(),
            ttl: Duration::ZERO,
            in_flight_max: 0,
            answer_wait_max: Duration::from_secs(5),
            connect_wait_max: Duration::from_secs(5),
        }
    }
}

impl StoreSettings {
    /// The store at `url`, all else as by default.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// The files with certificates that are named.
    pub fn certificates(&self) -> impl Iterator<Item = CertificateFile> + '_ {
        [("own", &self.tls.certificate), ("authority", &self.tls.ca)]
            .into_iter()
            .filter(|(_, path)| !path.as_os_str().is_empty())
            .map(|(role, path)| CertificateFile { peer: "store", role, path: path.clone() })
    }

    /// The URL, with the default where none is set.
    pub fn url(&self) -> &str {
        if self.url.is_empty() { URL_DEFAULT } else { &self.url }
    }
}
