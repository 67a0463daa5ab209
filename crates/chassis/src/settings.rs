//! Settings from four places, each over the one before: defaults, a TOML file, the environment, the command line.
//!
//! Whatever is given and not understood is refused, and the refusal names its place: a misspelt setting that is silently
//! ignored costs somebody a night.

use std::{
    env,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment, Metadata, Profile, Provider,
    error::Kind,
    providers::Serialized,
    value::{Dict, Map, Value},
};
use serde::{Serialize, de::DeserializeOwned};

pub use jiff::fmt::serde::unsigned_duration::friendly::compact::required as duration;

pub use flags::SettingsArgs;
pub use secret::Secret;

mod flags;
mod secret;

/// Where settings come from, besides the defaults of their type.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file. Given and absent is an error.
    pub file: Option<PathBuf>,
    /// Beginning of the names of environment variables, such as `VERDICT_`; empty reads no variable. The rest of a name is
    /// the key in upper case with `__` between levels: `VERDICT_INGEST__LISTEN` is `ingest.listen`. Below a table `properties` a
    /// `_` is a dot, too: `VERDICT_KAFKA__PROPERTIES__SASL_PASSWORD` is `sasl.password` in `kafka.properties`.
    pub environment_prefix: &'static str,
    /// Variables with that prefix that are no settings: a whole name, or the beginning of names followed by `*`.
    pub environment_ignored: &'static [&'static str],
    /// Dotted key and value of each flag, in the order of the command line.
    pub overrides: Vec<(String, String)>,
}

/// Why the settings are not to be had. Whoever starts the process has to change something.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file is not there, or not for us to read.
    #[error("reading settings from {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A key that no setting has.
    #[error("unknown setting `{key}` in {place}; known here: {known}")]
    Unknown {
        /// The dotted key.
        key: String,
        /// Where it was given.
        place: String,
        /// The keys that the same level has.
        known: String,
    },
    /// A value that its setting cannot have.
    #[error("setting `{key}` in {place}: {problem}")]
    Invalid {
        /// The dotted key.
        key: String,
        /// Where it was given.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// The settings' type cannot be written down.
    #[error("settings that TOML cannot express: {0}")]
    Inexpressible(String),
}

/// Reads the settings.
///
/// `T` should have `#[serde(default, deny_unknown_fields)]` on each struct. A duration is written `250ms` or `1m 30s` with
/// `#[serde(with = "chassis::settings::duration")]`. Values from the environment and the command line are read as TOML reads
/// them (`8`, `true`, `["a", "b"]`) where the setting takes that, else as the bare text.
pub fn load<T>(sources: &Sources) -> Result<T, SettingsError>
where
    T: Serialize + DeserializeOwned + Default,
{
    load_with(sources, env::vars_os().map(|(name, value)| (lossy(&name), lossy(&value))))
}

/// The settings as a TOML file, each [`Secret`] masked: what `config print` shows.
pub fn render<T: Serialize>(settings: &T) -> Result<String, SettingsError> {
    toml::to_string_pretty(settings)
        .map_err(|error| SettingsError::Inexpressible(error.to_string()))
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

/// [`load`] with the environment as an argument.
fn load_with<T>(
    sources: &Sources,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<T, SettingsError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let mut layers = Vec::new();
    if let Some(path) = &sources.file {
        layers.push(Layer {
            place: path.display().to_string(),
            data: with_foreign_names(read_file(path)?),
            bare: None,
        });
    }
    let mut variables: Vec<_> = environment.filter(|(name, _)| is_setting(name, sources)).collect();
    variables.sort_unstable();
    for (name, text) in variables {
        let rest = name.strip_prefix(sources.environment_prefix).unwrap_or_default();
        let path: Vec<_> = rest.split("__").map(str::to_ascii_lowercase).collect();
        layers.push(Layer::of_text(format!("the environment variable {name}"), &path, text));
    }
    for (key, text) in &sources.overrides {
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        layers.push(Layer::of_text("the command line".to_owned(), &path, text.clone()));
    }
    merge(&layers)
}

fn is_setting(name: &str, sources: &Sources) -> bool {
    let ignored = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *pattern,
    };
    !sources.environment_prefix.is_empty()
        && name.starts_with(sources.environment_prefix)
        && !sources.environment_ignored.iter().any(ignored)
}

fn read_file(path: &Path) -> Result<Dict, SettingsError> {
    let text = fs::read_to_string(path)
        .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| SettingsError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The name of tables with the settings of another system, whose names have dots.
const FOREIGN: &str = "properties";

/// What one place says.
#[derive(Clone)]
struct Layer {
    place: String,
    data: Dict,
    /// The same with its one value as bare text, where text was all there was.
    bare: Option<Dict>,
}

impl Layer {
    /// One value at `path`.
    fn of_text(place: String, path: &[String], text: String) -> Self {
        let Ok(value) = text.parse::<Value>();
        let nested = |value| with_foreign_names(nest(path, value));
        Self { place, data: nested(value), bare: Some(nested(Value::from(text))) }
    }

    /// The same, with its value as bare text.
    fn into_bare(self) -> Self {
        let data = self.bare.unwrap_or(self.data);
        Self { data, bare: None, ..self }
    }
}

fn nest(path: &[String], value: Value) -> Dict {
    match path {
        [] => Dict::new(),
        [last] => Dict::from([(last.clone(), value)]),
        [first, rest @ ..] => Dict::from([(first.clone(), Value::from(nest(rest, value)))]),
    }
}

/// Gives back their dots to the names in each table [`FOREIGN`]: `sasl.password = "x"` is TOML for a table `sasl`, and the names
/// of variables have underscores in their place.
fn with_foreign_names(table: Dict) -> Dict {
    let named = |(key, value): (String, Value)| match value {
        Value::Dict(tag, inner) if key == FOREIGN => {
            let mut flat = Dict::new();
            flatten(None, inner, &mut flat);
            (key, Value::Dict(tag, flat))
        }
        Value::Dict(tag, inner) => (key, Value::Dict(tag, with_foreign_names(inner))),
        other => (key, other),
    };
    table.into_iter().map(named).collect()
}

fn flatten(prefix: Option<&str>, table: Dict, flat: &mut Dict) {
    for (key, value) in table {
        let key = key.replace('_', ".");
        let name = prefix.map_or_else(|| key.clone(), |prefix| format!("{prefix}.{key}"));
        match value {
            // A table with a file is how a secret is written.
            Value::Dict(_, inner) if !(inner.len() == 1 && inner.contains_key("file")) => {
                flatten(Some(&name), inner, flat);
            }
            value => drop(flat.insert(name, value)),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.data.clone()))
    }
}

/// Lays the layers over the defaults of `T`.
fn merge<T>(layers: &[Layer]) -> Result<T, SettingsError>
where
    T: Serialize + DeserializeOwned + Default,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    for layer in layers {
        let merged = figment.clone().merge(layer.clone());
        let refused =
            |figment: &Figment| matches!(figment.extract::<T>(), Err(error) if takes_text(&error));
        // `1` is a number to most settings and a text to some: which one only the type knows.
        let bare = layer.bare.is_some() && refused(&merged) && !refused(&figment);
        figment = if bare { figment.merge(layer.clone().into_bare()) } else { merged };
    }
    let settings: T = figment.extract().map_err(refusal)?;
    let understood = Value::serialize(&settings).map_err(refusal)?;
    for layer in layers {
        let given = Value::from(layer.data.clone());
        if let Some((path, known)) = first_unknown(&given, &understood) {
            return Err(SettingsError::Unknown {
                key: path.join("."),
                place: layer.place.clone(),
                known,
            });
        }
    }
    Ok(settings)
}

fn takes_text(error: &figment::Error) -> bool {
    matches!(&error.kind, Kind::InvalidType(_, expected) if expected.contains("string"))
}

/// What figment has against a value, with the place that it came from.
fn refusal(error: figment::Error) -> SettingsError {
    let key = error.path.join(".");
    let place = error.metadata.map_or_else(|| "the defaults".into(), |it| it.name.into_owned());
    match error.kind {
        Kind::UnknownField(_, known) => {
            SettingsError::Unknown { key, place, known: known.join(", ") }
        }
        kind => SettingsError::Invalid { key, place, problem: kind.to_string() },
    }
}

/// The first key that was given and does not come out again, with the keys that its level has: a check that holds without
/// `deny_unknown_fields`, too.
fn first_unknown(given: &Value, understood: &Value) -> Option<(Vec<String>, String)> {
    let (given, understood) = match (given, understood) {
        (Value::Dict(_, given), Value::Dict(_, understood)) => (given, understood),
        (Value::Array(_, given), Value::Array(_, understood)) => {
            let mut pairs = given.iter().zip(understood).enumerate();
            return pairs.find_map(|(index, (given, understood))| {
                let (mut path, known) = first_unknown(given, understood)?;
                path.insert(0, index.to_string());
                Some((path, known))
            });
        }
        // A table that was read into something else was read.
        _ => return None,
    };
    given.iter().find_map(|(key, value)| {
        let Some(counterpart) = understood.get(key) else {
            let known: Vec<&str> = understood.keys().map(String::as_str).collect();
            return Some((vec![key.clone()], known.join(", ")));
        };
        let (mut path, known) = first_unknown(value, counterpart)?;
        path.insert(0, key.clone());
        Some((path, known))
    })
}

#[cfg(test)]
mod tests;
