//! `verdict store`: tables made, rows counted, and what the store says of itself.

mod args;

use std::io::Write as _;

use anyhow::Context as _;
use serde_json::json;
use store::Migration;

use self::args::{MigrateArgs, ReadArgs, StoreCommand};
use crate::settings::Settings;

pub(crate) use self::args::StoreArgs;

/// Runs the subcommand.
pub(crate) async fn run(args: StoreArgs) -> anyhow::Result<()> {
    match args.command {
        StoreCommand::Migrate(args) => migrate(&args).await,
        StoreCommand::Digest(args) => digest(&args).await,
        StoreCommand::Status(args) => status(&args).await,
    }
}

async fn migrate(args: &MigrateArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings, Vec::new())?.store();
    let migration = store::migrate(&settings, args.replication.as_ref(), args.dry_run).await?;
    let mut out = std::io::stdout().lock();
    let Some(Migration { from, to, statements }) = migration else {
        writeln!(
            out,
            "{}: a file's tables are made and upgraded when it is opened",
            settings.url()
        )?;
        return Ok(());
    };
    if args.dry_run {
        for statement in &statements {
            writeln!(out, "{statement};\n")?;
        }
    }
    let done = if args.dry_run { "would be" } else { "were" };
    match statements.len() {
        0 => writeln!(
            out,
            "-- {}: version {to} of the tables is there, nothing to do",
            settings.url()
        )?,
        count => writeln!(
            out,
            "-- {}: {count} statements {done} run, from version {from} of the tables to {to}",
            settings.url()
        )?,
    }
    Ok(())
}

async fn digest(args: &ReadArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings, Vec::new())?.store();
    let store = store::connect(&settings).await?;
    let digest = store::digest(&*store).await.context("reading all rows")?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", json!({ "rows": digest.rows, "digest": digest.to_string() }))?;
    } else {
        writeln!(out, "{} rows, digest {digest}", digest.rows)?;
    }
    Ok(())
}

/// Refused records that are shown.
const REFUSED_MAX: usize = 10;

async fn status(args: &ReadArgs) -> anyhow::Result<()> {
    let settings = Settings::load(&args.settings, Vec::new())?.store();
    let planned = store::migrate(&settings, None, true).await?;
    let store = store::connect(&settings).await?;
    let refused = store.refused(REFUSED_MAX).await.context("reading refused records")?;
    let version = planned.map(|planned| planned.from);
    let mut out = std::io::stdout().lock();
    if args.json {
        let refused = refused.iter().map(|refused| {
            json!({
                "topic": refused.topic, "partition": refused.partition, "offset": refused.offset,
                "class": refused.class, "message": refused.message, "refused_at": refused.refused_at,
            })
        });
        let refused: Vec<_> = refused.collect();
        let status =
            json!({ "url": settings.url(), "tables_version": version, "refused": refused });
        writeln!(out, "{status}")?;
        return Ok(());
    }
    match version {
        Some(version) => {
            writeln!(out, "{}: ready, version {version} of the tables", settings.url())?;
        }
        None => writeln!(out, "{}: ready", settings.url())?,
    }
    if refused.is_empty() {
        writeln!(out, "no record was refused")?;
    }
    for refused in refused {
        let store::RefusedRecord { topic, partition, offset, class, message, refused_at, .. } =
            refused;
        writeln!(out, "refused {refused_at}: {topic}/{partition}/{offset}: {class}: {message}")?;
    }
    Ok(())
}
