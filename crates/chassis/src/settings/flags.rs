//! The flags by which every program takes its settings.

use std::path::PathBuf;

use clap::Args;

use super::Sources;

/// Beginning of the names of environment variables that are settings.
const PREFIX: &str = "VERDICT_";

/// Where a program's settings come from, besides the environment.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingsArgs {
    /// Settings file in TOML
    #[arg(long, env = "VERDICT_CONFIG", value_name = "FILE", help_heading = "Settings")]
    pub config: Option<PathBuf>,

    /// Overrides one setting, as often as needed: --set telemetry.filter=debug
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "Settings", value_parser = assignment)]
    pub overrides: Vec<(String, String)>,
}

impl SettingsArgs {
    /// The file, the environment but for the variables in `ignored` (as [`Sources::environment_ignored`]), and the overrides.
    pub fn sources(self, ignored: &'static [&'static str]) -> Sources {
        Sources {
            file: self.config,
            environment_prefix: PREFIX,
            environment_ignored: ignored,
            overrides: self.overrides,
        }
    }
}

/// Reads `KEY=VALUE`: an entry of [`Sources::overrides`].
fn assignment(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("write it as KEY=VALUE, for instance telemetry.filter=debug"),
    }
}
