//! All settings of the line in one place: each service's own section, and where they are read from.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, bail};
use broker::kafka::KafkaSettings;
use chassis::telemetry::{LogFormat, LogOutput, TelemetrySettings};
use serde::{Deserialize, Serialize};
use store::StoreSettings;

use crate::cli::{ReadyArgs, ScoreArgs, SettingsArgs, UpArgs};

/// The settings file that is read where none is named.
const FILE_DEFAULT: &str = "verdict.toml";

/// The store's file in the data folder.
const STORE_FILE: &str = "verdicts.db";

/// Environment variables that begin like settings and are none.
const ENVIRONMENT_IGNORED: &[&str] = &["VERDICT_CONFIG", "VERDICT_TEST_*", "VERDICT_REGENERATE"];

/// Every setting of `verdict`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The folder with everything that `up` keeps, and its addresses.
    pub(crate) up: UpSettings,
    /// Kafka, where it is not the embedded broker.
    pub(crate) kafka: KafkaSettings,
    /// Where verdicts are kept; where none is set, a file in the folder of `up`.
    pub(crate) store: StoreSettings,
    /// Which model scores.
    pub(crate) model: ModelSettings,
    /// HTTP in, reviews out, answers back.
    pub(crate) ingest: ingest::Settings,
    /// Reviews in, verdicts out.
    pub(crate) processor: processor::Settings,
    /// Verdicts in, rows out.
    pub(crate) sink: sink::Settings,
    /// Feedback in, rows and counted labels out.
    pub(crate) feedback: sink::feedback::Settings,
    /// Whether verdicts drift.
    pub(crate) drift: sink::DriftSettings,
    /// Logs and metrics.
    pub(crate) telemetry: TelemetrySettings,
}

/// What `up` needs beside the services' own settings.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UpSettings {
    /// Folder for the embedded broker's log and the store.
    pub(crate) data: PathBuf,
    /// Where the embedded broker listens; loopback only.
    pub(crate) kafka_listen: SocketAddr,
    /// Whether the broker is embedded; otherwise it is the one of `[kafka]`.
    pub(crate) embedded: bool,
    /// When the embedded broker puts on disk what it acknowledges: `always`, an interval such as `200ms`, or `never`.
    pub(crate) fsync: String,
    /// Names this process to Kafka's transaction coordinator. Processes that share a Kafka must not share it: each would shut
    /// the other out.
    pub(crate) transactional_id: String,
    /// Partitions of the topics that `up` creates.
    pub(crate) partitions: u16,
}

/// Which model scores.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ModelSettings {
    /// Name and version of the champion.
    pub(crate) name: String,
    /// The model repository: a folder of `<model>/<version>/`. Empty: the `models` folder here or beside the program.
    pub(crate) repository: PathBuf,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            up: UpSettings::default(),
            kafka: KafkaSettings::default(),
            store: StoreSettings::default(),
            model: ModelSettings::default(),
            // No load balancer has to notice that this process is going.
            ingest: ingest::Settings { stop_delay: Duration::ZERO, ..ingest::Settings::default() },
            processor: processor::Settings::default(),
            sink: sink::Settings::default(),
            feedback: sink::feedback::Settings::default(),
            drift: sink::DriftSettings::default(),
            // A person reads the log here, and standard output is for results.
            telemetry: TelemetrySettings {
                filter: "warn".to_owned(),
                format: LogFormat::Human,
                output: LogOutput::Stderr,
                ..TelemetrySettings::default()
            },
        }
    }
}

impl Default for UpSettings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("verdict-data"),
            kafka_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
            embedded: true,
            fsync: embedded_kafka::Fsync::default().to_string(),
            transactional_id: "verdict-up-0".to_owned(),
            partitions: 4,
        }
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self { name: "sentiment@1".to_owned(), repository: PathBuf::new() }
    }
}

impl Settings {
    /// Reads the file, the environment and the flags; the later wins.
    pub(crate) fn load(args: &SettingsArgs, flags: Vec<(String, String)>) -> anyhow::Result<Self> {
        let mut args = args.clone();
        args.config = args.config.or_else(file_default);
        args.overrides.extend(flags);
        let sources = args.sources(ENVIRONMENT_IGNORED);
        let settings: Self = chassis::settings::load(&sources)?;
        settings.kafka.check().context("in the settings")?;
        Ok(settings)
    }

    /// The settings of `up`, with its flags.
    pub(crate) fn of_up(args: &UpArgs) -> anyhow::Result<Self> {
        let mut flags = Vec::new();
        let mut flag = |key: &str, value: Option<String>| {
            flags.extend(value.map(|value| (key.to_owned(), value)));
        };
        let path = |path: &PathBuf| path.display().to_string();
        flag("up.data", args.data.as_ref().map(path));
        flag("ingest.listen", args.http.map(|address| address.to_string()));
        flag("up.kafka_listen", args.kafka_listen.map(|address| address.to_string()));
        flag("up.embedded", args.kafka.as_ref().map(|_outside| "false".to_owned()));
        flag("kafka.bootstrap_servers", args.kafka.clone());
        flag("model.name", args.model.clone());
        flag("model.repository", args.models.as_ref().map(path));
        Self::load(&args.settings, flags)
    }

    /// The settings of `ready`, with its flag.
    pub(crate) fn of_ready(args: &ReadyArgs) -> anyhow::Result<Self> {
        let http = args.http.map(|address| ("ingest.listen".to_owned(), address.to_string()));
        Self::load(&args.settings, http.into_iter().collect())
    }

    /// How to reach the one store of the line: a file in the data folder, unless the settings name another.
    pub(crate) fn store(&self) -> StoreSettings {
        let mut store = self.store.clone();
        if store.url.is_empty() {
            store.url = format!("sqlite:{}", self.up.data.join(STORE_FILE).display());
        }
        store
    }

    /// The settings of the drift line, which finds the references where the models are.
    pub(crate) fn drift(&self) -> anyhow::Result<sink::DriftSettings> {
        let mut drift = self.drift.clone();
        if drift.models.as_os_str().is_empty() {
            drift.models = self.model.repository()?;
        }
        if drift.transactional_id.is_empty() {
            drift.transactional_id.clone_from(&self.up.transactional_id);
        }
        Ok(drift)
    }

    /// The settings of `score`, with its flags.
    pub(crate) fn of_score(args: &ScoreArgs) -> anyhow::Result<Self> {
        let model = args.model.clone().map(|model| ("model.name".to_owned(), model));
        let models = args
            .models
            .as_ref()
            .map(|path| ("model.repository".to_owned(), path.display().to_string()));
        Self::load(&args.settings, model.into_iter().chain(models).collect())
    }
}

/// The file that is read where none is named, if it is there.
fn file_default() -> Option<PathBuf> {
    Some(PathBuf::from(FILE_DEFAULT)).filter(|path| path.exists())
}

impl ModelSettings {
    /// The folder with the bundles: as set, else `models` in this folder, else in a folder above the program, as in a clone
    /// (`target/release/verdict`) or an image.
    pub(crate) fn repository(&self) -> anyhow::Result<PathBuf> {
        if !self.repository.as_os_str().is_empty() {
            return Ok(self.repository.clone());
        }
        let here = PathBuf::from("models");
        let program = std::env::current_exe().unwrap_or_default();
        let above = program.ancestors().skip(1).map(|folder| folder.join("models"));
        let mut candidates = std::iter::once(here).chain(above);
        match candidates.find(|folder| folder.join("sentiment").is_dir()) {
            Some(folder) => Ok(folder),
            None => bail!(
                "no folder `models` with bundles here or beside the program: name one with --models"
            ),
        }
    }

    /// Opens and checks the champion's bundle.
    pub(crate) fn open(&self) -> anyhow::Result<models::Bundle> {
        let repository = self.repository()?;
        let name: models::ModelName = self.name.parse().context("in the setting `model.name`")?;
        models::Repository::directory(&repository)
            .open(&name)
            .with_context(|| format!("loading {} from {}", self.name, repository.display()))
    }
}
