//! `portcullis ban`: whose attempts are refused for now, and lifting that.

use super::failure::Wrong;
use super::output;
use super::place::{Desk, Place};
use crate::account::Banned;
use anyhow::{Result, bail};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;

/// See whose attempts to sign in are refused for now, and lift that
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List what is refused now
    List(List),
    /// Let somebody try again at once
    Lift(Lift),
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    /// At most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only those after this one, to go on with a list
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true))]
pub(super) struct Lift {
    #[command(flatten)]
    place: Place,
    /// A user name, an e-mail address, an IP address or network, or the id of a ban
    #[arg(group = "which")]
    who: Option<String>,
    /// Everything that is refused
    #[arg(long, group = "which")]
    all: bool,
}

pub(super) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List(options) => list(options).await,
        Command::Lift(options) => lift(options).await,
    }
}

async fn list(options: List) -> Result<()> {
    let desk = options.place.open().await?;
    let bans = desk.accounts.bans(options.after.as_deref(), options.limit).await?;
    desk.close().await;
    let full = bans.len() == options.limit as usize;
    let next = bans.last().filter(|_| full).map(|last| last.id.clone());
    if options.place.json {
        return output::json(&output::List { items: &bans, next });
    }
    if bans.is_empty() {
        return output::line("Nobody is refused.");
    }
    let row = |ban: &Banned| {
        vec![
            ban.who.clone(),
            ban.kind.clone(),
            ban.since.map_or_else(|| "-".into(), |since| since.to_string()),
            ban.until.to_string(),
            ban.id.clone(),
        ]
    };
    output::table(&["who", "kind", "since", "until", "id"], bans.iter().map(row))?;
    match next {
        Some(next) => output::line(format_args!("There may be more: --after {next}")),
        None => Ok(()),
    }
}

async fn lift(options: Lift) -> Result<()> {
    let desk = options.place.open().await?;
    let lifted = match (&options.who, options.all) {
        (Some(who), _) => desk.accounts.lift(who, Desk::ACTOR).await?,
        (None, true) => desk.accounts.lift_all(Desk::ACTOR).await?,
        (None, false) => bail!(Wrong("name somebody, or --all".into())),
    };
    desk.close().await;
    if let (Some(who), true) = (&options.who, lifted.is_empty()) {
        bail!(
            "nothing was counted for {who:?}; a name that is nobody's is lifted by the id that `portcullis ban list` shows"
        );
    }
    if options.place.json {
        return output::json(&json!({ "lifted": lifted }));
    }
    let count = output::count(lifted.len(), "count");
    output::line(format_args!(
        "{count} of attempts forgotten. Every instance acts on it within a second."
    ))
}
