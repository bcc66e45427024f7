//! `portcullis user`: who may sign in.

use super::failure::Wrong;
use super::import;
use super::output;
use super::password::PasswordSource;
use super::place::{Desk, Place};
use crate::account::AccountEdit;
use crate::account::NewAccount;
use crate::model::User;
use crate::model::UserState;
use crate::model::Username;
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// See and change users
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Add a user
    Add(Add),
    /// List users by name
    List(List),
    /// Show one user
    Show(One),
    /// Set a user's password and end the user's sessions
    Password(Password),
    /// Keep a user from signing in and end the user's sessions
    Disable(One),
    /// Let a disabled user sign in again
    Enable(One),
    /// Delete a user with all sessions; the name is not given out again
    Delete(One),
    /// Change a user's groups
    #[command(subcommand)]
    Group(Group),
    /// Say who a user is in an application that keeps its own sessions: where its source has `open`, the user's log-in
    /// here signs them in there, too
    AppUser(AppUser),
    Import(import::Import),
}

#[derive(Args, Debug)]
pub(super) struct Add {
    /// The user's name: a-z, 0-9 and . _ @ + -
    name: String,
    /// E-mail address; the user may sign in with it too
    #[arg(long)]
    email: Option<String>,
    /// Name as people write it
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// A group that the user is in; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    #[command(flatten)]
    password: PasswordSource,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct List {
    /// Only users with this in their name or e-mail address
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only those after this name, to go on with a list
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct One {
    /// The user's name
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Password {
    /// The user's name
    name: String,
    #[command(flatten)]
    source: PasswordSource,
    #[command(flatten)]
    place: Place,
}

/// Change a user's groups
#[derive(Subcommand, Debug)]
pub(super) enum Group {
    /// Put a user into groups
    Add(Groups),
    /// Take a user out of groups
    Remove(Groups),
}

#[derive(Args, Debug)]
pub(super) struct Groups {
    /// The user's name
    name: String,
    /// The groups
    #[arg(required = true, value_name = "GROUP")]
    which: Vec<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct AppUser {
    /// The user's name
    name: String,
    /// The source, as the configuration calls it
    source: String,
    /// The application's own key for the user: 42, or {"id":42} where it keeps an object; anything else is a text, and
    /// "42" with its quotes is a text of digits
    #[arg(required_unless_present = "unset")]
    value: Option<String>,
    /// The user is nobody there any more
    #[arg(long, conflicts_with = "value")]
    unset: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Add(options) => add(options).await,
        Command::List(options) => list(options).await,
        Command::Show(options) => show(options).await,
        Command::Password(options) => password(options).await,
        Command::Disable(options) => disable(options).await,
        Command::Enable(options) => enable(options).await,
        Command::Delete(options) => delete(options).await,
        Command::Group(Group::Add(options)) => change_groups(options, true).await,
        Command::Group(Group::Remove(options)) => change_groups(options, false).await,
        Command::AppUser(options) => app_user(options).await,
        Command::Import(options) => import::run(options).await,
    }
}

async fn add(options: Add) -> Result<()> {
    // Before the prompt: nobody should type a password twice for a name that cannot be.
    parse(&options.name)?;
    let password = options.password.read(&options.name)?;
    let desk = options.place.open().await?;
    let account = NewAccount {
        username: options.name,
        email: options.email,
        name: options.display_name,
        groups: options.group,
        password: Some(password),
    };
    let user = desk.accounts.add(account, Desk::ACTOR).await?;
    desk.close().await;
    if options.place.json {
        return output::json(&user);
    }
    output::line(format_args!("{} was added and may sign in.", user.username))
}

async fn list(options: List) -> Result<()> {
    let after = options.after.as_deref().map(parse).transpose()?;
    let desk = options.place.open().await?;
    let search = options.search.as_deref();
    let users = desk.accounts.list(search, after.as_ref(), options.limit).await?;
    desk.close().await;
    let full = users.len() == options.limit as usize;
    let next = users.last().filter(|_| full).map(|last| last.username.to_string());
    if options.place.json {
        return output::json(&output::List { items: &users, next });
    }
    if users.is_empty() {
        return output::line("No users.");
    }
    let row = |user: &User| {
        vec![
            user.username.to_string(),
            user.name.clone().unwrap_or_else(|| "-".into()),
            user.email.clone().unwrap_or_else(|| "-".into()),
            groups_of(user),
            state_of(user).to_owned(),
            user.created_at.to_string(),
        ]
    };
    output::table(
        &["user", "name", "e-mail", "groups", "state", "added"],
        users.iter().map(row),
    )?;
    match next {
        Some(next) => output::line(format_args!("There may be more: --after {next}")),
        None => Ok(()),
    }
}

async fn show(options: One) -> Result<()> {
    let desk = options.place.open().await?;
    let user = desk.user(&options.name).await?;
    desk.close().await;
    if options.place.json {
        return output::json(&user);
    }
    output::facts(&[
        ("user", user.username.to_string()),
        ("id", user.id.to_string()),
        ("name", user.name.clone().unwrap_or_else(|| "-".into())),
        ("e-mail", user.email.clone().unwrap_or_else(|| "-".into())),
        ("groups", groups_of(&user)),
        ("state", state_of(&user).to_owned()),
        ("added", user.created_at.to_string()),
        ("in applications", app_users_of(&user)),
    ])
}

async fn password(options: Password) -> Result<()> {
    parse(&options.name)?;
    let password = options.source.read(&options.name)?;
    let desk = options.place.open().await?;
    let ended = desk.accounts.set_password(&options.name, password, Desk::ACTOR).await?;
    finish(desk, &options.place, &options.name, "has a new password", ended.len()).await
}

async fn disable(options: One) -> Result<()> {
    let desk = options.place.open().await?;
    let ended = desk.accounts.disable(&options.name, Desk::ACTOR).await?;
    finish(
        desk,
        &options.place,
        &options.name,
        "may no longer sign in",
        ended.len(),
    )
    .await
}

async fn enable(options: One) -> Result<()> {
    let desk = options.place.open().await?;
    let ended = desk.accounts.enable(&options.name, Desk::ACTOR).await?;
    finish(desk, &options.place, &options.name, "may sign in", ended.len()).await
}

async fn delete(options: One) -> Result<()> {
    let desk = options.place.open().await?;
    let ended = desk.accounts.delete(&options.name, Desk::ACTOR).await?;
    finish(desk, &options.place, &options.name, "was deleted", ended.len()).await
}

async fn change_groups(options: Groups, add: bool) -> Result<()> {
    let desk = options.place.open().await?;
    let (name, which) = (&options.name, &options.which);
    if add {
        desk.accounts.add_groups(name, which, Desk::ACTOR).await?;
    } else {
        desk.accounts.remove_groups(name, which, Desk::ACTOR).await?;
    }
    let user = desk.user(name).await?;
    let effect = desk.effect();
    desk.close().await;
    if options.place.json {
        return output::json(&user);
    }
    output::line(format_args!("{} is in: {}. {effect}", user.username, groups_of(&user)))
}

async fn app_user(options: AppUser) -> Result<()> {
    let desk = options.place.open().await?;
    let user = desk.user(&options.name).await?;
    let value = options.value.as_deref().map(value_of);
    let edit = AccountEdit {
        app_users: BTreeMap::from([(options.source.clone(), value.clone())]),
        ..AccountEdit::default()
    };
    let (user, _) = desk.accounts.edit(user.id, edit, Desk::ACTOR).await?;
    let effect = desk.effect();
    desk.close().await;
    if options.place.json {
        return output::json(&user);
    }
    let who = value.map_or_else(|| "nobody".to_owned(), |value| value.to_string());
    output::line(format_args!(
        "{} is {who} in {}, from the next log-in on. {effect}",
        user.username, options.source
    ))
}

/// JSON where it is JSON; whoever types a word means the word.
fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Tells what was done and when it counts.
async fn finish(desk: Desk, place: &Place, user: &str, done: &str, ended: usize) -> Result<()> {
    let effect = desk.effect();
    desk.close().await;
    if place.json {
        let answer: Value = json!({ "user": user, "sessions_ended": ended });
        return output::json(&answer);
    }
    let count = output::count(ended, "session");
    output::line(format_args!("{user} {done}; {count} ended. {effect}"))
}

fn parse(name: &str) -> Result<Username> {
    Ok(Username::parse(name).map_err(|error| Wrong(format!("{name:?} is no user name: {error}")))?)
}

fn groups_of(user: &User) -> String {
    if user.groups.is_empty() {
        "-".into()
    } else {
        user.groups.join(", ")
    }
}

fn app_users_of(user: &User) -> String {
    if user.app_users.is_empty() {
        return "-".into();
    }
    let each = user
        .app_users
        .iter()
        .map(|(source, value)| format!("{source}: {value}"));
    each.collect::<Vec<_>>().join(", ")
}

fn state_of(user: &User) -> &'static str {
    match user.state {
        UserState::Active => "active",
        UserState::Disabled => "disabled",
    }
}
