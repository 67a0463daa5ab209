//! `verdict config`: the settings as they are, or what is wrong with them.

use std::io::Write as _;

use crate::{
    cli::{ConfigArgs, ConfigCommand},
    settings::Settings,
};

/// Prints or checks.
pub(crate) fn run(args: ConfigArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match args.command {
        ConfigCommand::Print(args) => {
            let settings = Settings::load(&args, Vec::new())?;
            write!(out, "{}", chassis::settings::render(&settings)?)?;
        }
        ConfigCommand::Check(args) => {
            let settings = Settings::load(&args, Vec::new())?;
            let bundle = settings.model.open()?;
            writeln!(out, "the settings are right; the champion is {}", bundle.name())?;
        }
    }
    Ok(())
}
