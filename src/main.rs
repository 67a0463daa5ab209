//! The operator's command line.
//!
//! # Layout
//! - [`cli`]: flags and their help; [`settings`]: file, environment and flags made one
//! - [`up`]: the whole line in one process
//! - [`score`], [`load`], [`tap`], [`check`], [`replay`], [`dlq`], [`mod@drift`], [`store`], [`mod@topics`], [`model`], [`config`]: one file
//!   or folder a subcommand

mod check;
mod cli;
mod config;
mod dlq;
mod drift;
mod load;
mod model;
mod replay;
mod score;
mod settings;
mod store;
mod tap;
mod topics;
mod up;

use std::{io, path::Path, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use tokio::runtime::Runtime;

use crate::{
    cli::{Cli, Command},
    settings::Settings,
};

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        // Whoever reads our output, `head` for instance, has enough: that is no error.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a command line")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(args) => {
            let settings = Settings::of_up(&args)?;
            runtime()?.block_on(up::run(settings))?;
        }
        Command::Score(args) => return score::run(&args),
        Command::Load(args) => runtime()?.block_on(load::run(args))?,
        Command::Tap(args) => tap::run(&args)?,
        Command::Check(args) => return check::run(args, &runtime()?),
        Command::Replay(args) => return replay::run(&args, &runtime()?),
        Command::Topics(args) => runtime()?.block_on(topics::run(&args))?,
        Command::Ready(args) => chassis::readiness::ask(Settings::of_ready(&args)?.ingest.listen)?,
        Command::Store(args) => runtime()?.block_on(store::run(args))?,
        Command::Model(args) => model::run(args)?,
        Command::Drift(args) => runtime()?.block_on(drift::run(args))?,
        Command::Dlq(args) => dlq::run(&args)?,
        Command::Config(args) => config::run(args)?,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "verdict", &mut io::stdout());
        }
        Command::Man { into } => man(&into)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<Runtime> {
    Runtime::new().context("starting the async runtime")
}

fn man(into: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(into).with_context(|| format!("making {}", into.display()))?;
    clap_mangen::generate_to(Cli::command(), into)
        .with_context(|| format!("writing into {}", into.display()))
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}
