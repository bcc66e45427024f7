//! `portcullis migrate`: brings the database to this version.

use super::output;
use super::place::Place;
use anyhow::Result;
use clap::Args;
use serde_json::json;

/// Bring the database to this version
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
    /// Only tell what would be applied
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(options: Options) -> Result<()> {
    let desk = options.place.open_unmigrated().await?;
    let names = desk.store.migrate(options.dry_run).await?;
    desk.close().await;
    if options.place.json {
        return output::json(&json!({ "dry_run": options.dry_run, "migrations": names }));
    }
    for name in &names {
        output::line(name)?;
    }
    let count = output::count(names.len(), "migration");
    match (names.is_empty(), options.dry_run) {
        (true, _) => output::line("The database is up to date."),
        (false, true) => output::line(format_args!("{count} would be applied; nothing was changed.")),
        (false, false) => output::line(format_args!("{count} applied.")),
    }
}
