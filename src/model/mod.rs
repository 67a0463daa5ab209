//! `verdict model`: what a bundle's owner does to it before it is shipped.

mod args;
mod held_out;
mod reference;
mod table;
mod vocabulary;

pub(crate) use self::args::ModelArgs;
use self::args::ModelCommand;

/// Runs the subcommand.
pub(crate) fn run(args: ModelArgs) -> anyhow::Result<()> {
    match args.command {
        ModelCommand::Reference(args) => reference::run(&args),
    }
}
