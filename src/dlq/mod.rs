//! `verdict dlq`: working with dead letters.
//!
//! The topic is read from its beginning to where it ends now, letter by letter, so that it may be larger than memory. What is
//! decided of a letter is pure; [`redrive`] and [`purge`] say before what they would do.
//!
//! # Layout
//! - [`args`]: flags and their help
//! - [`letter`]: a dead letter as an operator sees it; [`filter`]: which are meant
//! - [`redriven`]: which were sent again
//! - [`list`], [`show`], [`redrive`], [`purge`]: one file a command
//! - [`words`]: bytes and text from outside made fit for a terminal

mod args;
mod filter;
mod letter;
mod list;
mod purge;
mod redrive;
mod redriven;
mod show;
mod words;

use std::ops::ControlFlow;

use anyhow::Context as _;
use broker::{
    TailFrom,
    kafka::{KafkaScan, KafkaSettings},
};
use schemas::topics;

pub(crate) use args::DlqArgs;

use self::{
    args::{DlqCommand, KafkaArgs},
    letter::Letter,
    redriven::Redriven,
};
use crate::settings::Settings;

/// Most records that are taken at once.
const RECORDS_MAX: usize = 500;

/// Does what was asked.
pub(crate) fn run(args: &DlqArgs) -> anyhow::Result<()> {
    match &args.command {
        DlqCommand::List(args) => list::run(args),
        DlqCommand::Show(args) => show::run(args),
        DlqCommand::Redrive(args) => redrive::run(args),
        DlqCommand::Purge(args) => purge::run(args),
    }
}

fn kafka(args: &KafkaArgs) -> anyhow::Result<KafkaSettings> {
    let flags =
        args.kafka.iter().map(|kafka| ("kafka.bootstrap_servers".to_owned(), kafka.clone()));
    Ok(Settings::load(&args.settings, flags.collect())?.kafka)
}

/// Calls `each` with every dead letter, in the order of its partition, until it has seen enough.
fn scan(
    kafka: &KafkaSettings,
    redriven: &Redriven,
    mut each: impl FnMut(&Letter<'_>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let reading = || format!("reading {} at {}", topics::DEAD_LETTERS, kafka.bootstrap_servers);
    let opened = KafkaScan::open(kafka, topics::DEAD_LETTERS, TailFrom::Beginning);
    let Some(mut scan) = opened.with_context(reading)? else {
        anyhow::bail!(
            "there is no topic {} at {}: is it the right Kafka? Name another with --kafka",
            topics::DEAD_LETTERS,
            kafka.bootstrap_servers
        );
    };
    loop {
        let deliveries = scan.read(RECORDS_MAX).with_context(reading)?;
        if deliveries.is_empty() {
            return Ok(());
        }
        for delivery in &deliveries {
            if each(&Letter::read(delivery, redriven))?.is_break() {
                return Ok(());
            }
        }
    }
}
