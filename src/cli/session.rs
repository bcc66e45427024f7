//! `portcullis session`: who is signed in, and ending it.

use super::copying;
use super::failure::Wrong;
use super::output;
use super::place::{Desk, Place};
use super::progress::Progress;
use super::stats;
use super::theirs;
use crate::model::Event;
use crate::model::EventKind;
use crate::model::PublicId;
use crate::model::Timestamp;
use crate::session::SweepScope;
use crate::session::Swept;
use crate::session::TheirSession;
use crate::session::sweep_store;
use crate::store::Found;
use crate::store::Which;
use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args, Subcommand};
use serde::Serialize;
use serde_json::json;
use std::net::IpAddr;

/// See and end sessions
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List sessions, the newest first
    List(List),
    /// Show one session
    Show(Show),
    /// End one session, all of a user, or all
    End(End),
    /// Remove every session that is over; a gateway does it by itself now and then
    Sweep(Place),
    Import(copying::Import),
    Stats(stats::Options),
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    /// Only sessions of this user; of an application's, SOURCE:SUBJECT
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    /// The live sessions that this application keeps, by the name of its source
    #[arg(long, value_name = "NAME", conflicts_with = "user")]
    source: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) limit: u32,
    /// Only those after this one, to go on with a list
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Show {
    #[command(flatten)]
    place: Place,
    /// The session's public id
    id: uuid::Uuid,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true))]
pub(super) struct End {
    #[command(flatten)]
    place: Place,
    /// The session's public id
    #[arg(group = "which")]
    id: Option<uuid::Uuid>,
    /// All sessions of this user; of an application's, SOURCE:SUBJECT
    #[arg(long, value_name = "NAME", group = "which")]
    user: Option<String>,
    /// All sessions of everybody, and those of applications whose source has `end = true`
    #[arg(long, group = "which")]
    all: bool,
}

pub(super) async fn run(command: Command) -> Result<()> {
    match command {
        Command::List(options) => list(options).await,
        Command::Show(options) => show(options).await,
        Command::End(options) => end(options).await,
        Command::Sweep(place) => sweep(place).await,
        Command::Import(options) => copying::run(options).await,
        Command::Stats(options) => stats::run(options).await,
    }
}

/// A session as programs get it.
#[derive(Serialize)]
pub(super) struct Shown {
    public_id: PublicId,
    user: String,
    source: Option<String>,
    state: &'static str,
    created_at: Option<Timestamp>,
    authenticated_at: Option<Timestamp>,
    last_seen_at: Option<Timestamp>,
    expires_at: Timestamp,
    ends_at: Timestamp,
    remembered: bool,
    methods: Vec<String>,
    device: Option<String>,
    user_agent: Option<String>,
    first_address: Option<IpAddr>,
    last_address: Option<IpAddr>,
}

impl Shown {
    fn new(found: Found, now: Timestamp) -> Self {
        let Found { session, user } = found;
        Self {
            public_id: session.public_id,
            user: user.username.to_string(),
            state: if session.is_over(now) { "expired" } else { "active" },
            source: None,
            created_at: Some(session.created_at),
            authenticated_at: Some(session.authenticated_at),
            last_seen_at: Some(session.last_seen_at),
            expires_at: session.expires_at,
            ends_at: session.ends_at,
            remembered: session.remembered,
            methods: session.methods,
            device: session.device,
            user_agent: session.user_agent,
            first_address: session.first_address,
            last_address: session.last_address,
        }
    }

    /// Of an application's session it is not known when it began or was last seen.
    pub(super) fn of_source(source: &str, theirs: &TheirSession, now: Timestamp) -> Self {
        Self {
            source: Some(source.to_owned()),
            created_at: None,
            authenticated_at: None,
            last_seen_at: None,
            ..Self::new(theirs.found.clone(), now)
        }
    }

    fn address(&self) -> String {
        self.last_address
            .or(self.first_address)
            .map_or_else(|| "-".into(), |address| address.to_string())
    }
}

async fn list(options: List) -> Result<()> {
    let desk = options.place.open().await?;
    let of_source = options
        .source
        .as_deref()
        .or(options.user.as_deref().filter(|user| user.contains(':')));
    if let Some(source) = of_source {
        let source = desk.source(source)?;
        let now = desk.store.now().await?;
        let (shown, next) = theirs::list(&source, &options, now).await?;
        desk.close().await;
        return print(&options, &shown, next);
    }
    let after = options.after.as_deref().map(uuid::Uuid::parse_str).transpose();
    let after = after.map_err(|_| Wrong("--after takes the id that the list before ended with".into()))?;
    let user = match &options.user {
        Some(name) => Some(desk.user(name).await?.id),
        None => None,
    };
    let now = desk.store.now().await?;
    let found = desk
        .store
        .list_sessions(user, after.map(PublicId), options.limit)
        .await?;
    desk.close().await;
    let full = found.len() == options.limit as usize;
    let shown: Vec<Shown> = found.into_iter().map(|one| Shown::new(one, now)).collect();
    let next = shown.last().filter(|_| full).map(|last| last.public_id.to_string());
    print(&options, &shown, next)
}

fn print(options: &List, shown: &[Shown], next: Option<String>) -> Result<()> {
    if options.place.json {
        return output::json(&output::List { items: shown, next });
    }
    if shown.is_empty() {
        return output::line("No sessions.");
    }
    let row = |one: &Shown| {
        vec![
            one.public_id.to_string(),
            one.user.clone(),
            one.state.to_owned(),
            or_dash(one.created_at),
            one.expires_at.to_string(),
            one.address(),
            one.device.clone().unwrap_or_else(|| "-".into()),
        ]
    };
    let heading = ["id", "user", "state", "signed in", "expires", "address", "device"];
    output::table(&heading, shown.iter().map(row))?;
    match next {
        Some(next) => output::line(format_args!("There may be more: --after {next}")),
        None => Ok(()),
    }
}

async fn show(options: Show) -> Result<()> {
    let desk = options.place.open().await?;
    let now = desk.store.now().await?;
    let id = PublicId(options.id);
    let one = if id.is_of_source() {
        let (source, theirs) = theirs::find(&desk, id, now)
            .await?
            .with_context(|| no_such(options.id))?;
        Shown::of_source(source.name(), &theirs, now)
    } else {
        let found = desk.store.find_session_by_public_id(id).await?;
        Shown::new(found.with_context(|| no_such(options.id))?, now)
    };
    desk.close().await;
    if options.place.json {
        return output::json(&one);
    }
    output::facts(&[
        ("id", one.public_id.to_string()),
        ("user", one.user.clone()),
        ("state", one.state.to_owned()),
        ("kept by", one.source.clone().unwrap_or_else(|| "the gateway".into())),
        (
            "signed in",
            format!("{} ({})", or_dash(one.authenticated_at), one.methods.join(", ")),
        ),
        (
            "last seen",
            format!("{} from {}", or_dash(one.last_seen_at), one.address()),
        ),
        ("expires", one.expires_at.to_string()),
        ("ends at latest", one.ends_at.to_string()),
        ("remembered", if one.remembered { "yes" } else { "no" }.to_owned()),
        ("device", one.device.clone().unwrap_or_else(|| "-".into())),
        ("browser", one.user_agent.clone().unwrap_or_else(|| "-".into())),
    ])
}

fn or_dash(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".into(), |at| at.to_string())
}

async fn end(options: End) -> Result<()> {
    let desk = options.place.open().await?;
    if let Some(ended) = theirs::end(&desk, options.id.map(PublicId), options.user.as_deref()).await? {
        let effect = desk.effect();
        desk.close().await;
        return print_ended(&options, &ended, &effect);
    }
    let which = match (options.id, &options.user, options.all) {
        (Some(id), _, _) => Which::Public(PublicId(id)),
        (None, Some(name), _) => Which::User(desk.user(name).await?.id),
        (None, None, true) => Which::All,
        (None, None, false) => bail!(Wrong("name a session, --user or --all".into())),
    };
    let event = Event::new(desk.clock.now(), EventKind::SessionEnded, Desk::ACTOR);
    let ended = desk.store.end_sessions(which, event.clone()).await?;
    let there = if options.all {
        theirs::end_everyone(&desk, &event).await?
    } else {
        Vec::new()
    };
    let effect = desk.effect();
    desk.close().await;
    if let (Some(id), true) = (options.id, ended.is_empty()) {
        bail!(no_such(id));
    }
    let ids: Vec<PublicId> = ended.iter().map(|one| one.public_id).collect();
    if options.place.json && !there.is_empty() {
        return output::json(&json!({ "ended": ids, "sources": there }));
    }
    print_ended(&options, &ids, &effect)?;
    for one in &there {
        let count = output::count(usize::try_from(one.ended).unwrap_or(usize::MAX), "session");
        match one.state {
            "ended" => output::line(format_args!("{}: {count} ended.", one.source))?,
            _ => output::line(format_args!(
                "{}: left alone; its source has no `end = true`.",
                one.source
            ))?,
        }
    }
    Ok(())
}

fn print_ended(options: &End, ended: &[PublicId], effect: &str) -> Result<()> {
    if options.place.json {
        return output::json(&json!({ "ended": ended }));
    }
    let count = output::count(ended.len(), "session");
    output::line(format_args!("{count} ended. {effect}"))
}

async fn sweep(place: Place) -> Result<()> {
    let desk = place.open().await?;
    let progress = Progress::new("expired sessions removed");
    let swept = sweep_store(&*desk.store, &desk.clock, SweepScope::All, true, |count| {
        progress.set(count);
    })
    .await;
    drop(progress);
    let swept = swept?;
    desk.close().await;
    let Swept::Removed(removed, took) = swept else {
        bail!("a gateway is removing expired sessions at this moment; see its log for how many");
    };
    if place.json {
        return output::json(&json!({ "removed": removed, "seconds": took.as_secs_f64() }));
    }
    let count = output::count(usize::try_from(removed).unwrap_or(usize::MAX), "expired session");
    output::line(format_args!("{count} removed."))
}

fn no_such(id: uuid::Uuid) -> String {
    format!("there is no session {id}")
}
