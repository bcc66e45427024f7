use super::failure::Wrong;
use super::output;
use super::place::{Desk, Place};
use super::progress::Progress;
use crate::config::Config;
use crate::session;
use crate::session::CopyReport;
use crate::session::CopySettings;
use crate::session::SourceSettings;
use crate::store::Role;
use anyhow::{Context, Result, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretSlice};

/// Copy the live sessions that an application keeps, so that nobody is signed out when it moves to the gateway's log-in
///
/// Each copy is a session of the gateway, of the user whom `user_map` names; it ends when its row does. With `moved = true`
/// on the source, the application's cookie opens the copy, and its table is not asked any more. Until then a copy opens
/// nothing, follows its row, and ends when the row is gone.
///
/// What was copied is not copied again, so the command can be run as often as you like, also after it broke off. Rows that
/// are over, that name no user or that cannot be read are left and counted by the reason. Members of `admin.group` are
/// never copied.
#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    place: Place,
    /// The source's name
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Read every row and tell what would be copied; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Make a user, called SOURCE-KEY, for those whom nobody here is known for; they cannot sign in until an administrator
    /// sets a password
    #[arg(long)]
    create_users: bool,
    /// Once the source has moved: end copies whose row is gone
    #[arg(long)]
    end_missing: bool,
}

pub(super) async fn run(options: Import) -> Result<()> {
    let config = options.place.config()?;
    let source = source(&config, &options.source)?;
    let secrets = match config.session.secrets.as_slice() {
        [] => vec![session::load_or_make_secret(&config.data_dir)?],
        given => given.to_vec(),
    };
    let desk = Desk::open(&config, Role::Command).await?;
    let outcome = copy(&options, &config, source, &secrets, &desk).await;
    desk.close().await;
    outcome
}

fn source<'a>(config: &'a Config, name: &str) -> Result<&'a SourceSettings> {
    let found = config.session.sources.iter().find(|source| source.name == name);
    let Some(source) = found else {
        bail!(Wrong(format!(
            "there is no source {name:?}; `portcullis source list` shows them"
        )));
    };
    if source.table.url.expose_secret().is_empty() {
        bail!(Wrong(format!(
            "the source {name:?} has no `store_url` any more, so there is nothing to copy from"
        )));
    }
    Ok(source)
}

async fn copy(
    options: &Import,
    config: &Config,
    source: &SourceSettings,
    secrets: &[SecretSlice<u8>],
    desk: &Desk,
) -> Result<()> {
    agree(config, secrets, desk).await?;
    let settings = CopySettings {
        source,
        secrets,
        admin_group: config.admin.group.as_deref(),
        dry_run: options.dry_run,
        create_users: options.create_users,
        end_missing: options.end_missing,
    };
    let progress = Progress::new("rows read");
    let mut report = CopyReport::default();
    let outcome = session::copy_sessions(&settings, &desk.store, &desk.clock, &mut report, |rows| {
        progress.set(rows);
    })
    .await;
    drop(progress);
    if options.place.json {
        output::json(&report)?;
    } else {
        tell(&report, source)?;
    }
    outcome.context("the copying broke off; what was copied stays, and running it again copies the rest")
}

/// Copies are keyed by the session secrets: made with others than those of the gateways that run, they would open nothing.
async fn agree(config: &Config, secrets: &[SecretSlice<u8>], desk: &Desk) -> Result<()> {
    let ours = session::signing(secrets, &config.session.cookie);
    let running = desk.store.list_instances().await?;
    if let Some((instance, discord)) = session::strangers(&ours, &running).into_iter().next() {
        bail!(
            "this configuration and the gateway that runs on {} ({}) do not go together, so its copies might open nothing: \
             \"this one\" is this configuration, and that instance {}",
            instance.host,
            instance.address,
            discord.advice()
        );
    }
    Ok(())
}

fn tell(report: &CopyReport, source: &SourceSettings) -> Result<()> {
    let count = |number: u64, noun| output::count(usize::try_from(number).unwrap_or(usize::MAX), noun);
    let would = if report.dry_run { " would be" } else { "" };
    output::line(format_args!(
        "{} read: {}{would} copied, {} there already, {}{would} ended because their rows are gone.",
        count(report.read, "row"),
        count(report.copied, "session"),
        report.kept + report.prolonged,
        report.ended,
    ))?;
    if report.users_created > 0 {
        output::line(format_args!("{}{would} made.", count(report.users_created, "user")))?;
    }
    for (reason, number) in &report.left {
        output::line(format_args!("left: {number:>7}  {}", meaning(reason)))?;
    }
    if !source.moved && !report.dry_run {
        output::line("The copies open nothing yet: that begins with moved = true on the source.")?;
    }
    Ok(())
}

/// What a reason says to people.
fn meaning(reason: &str) -> &str {
    match reason {
        "over" => "are over",
        "no_user" => "name no user: visitors, or people who have not finished signing in",
        "inactive_user" => "are of users whom the application's own table does not have as active",
        "unknown_user" => "are of users whom nobody here is known for: name them in user_map, or use --create-users",
        "user_disabled" => "are of users who are disabled here",
        "administrator" => "are of members of admin.group, who sign in themselves",
        "name_taken" => "are of users whose name would be another's here: name them in user_map",
        "ended_here" => "were ended here",
        "same_key_twice" => "share their key with another row, so nobody knows which one counts",
        "no_secret" => "lack the hash of their cookie's secret",
        "unreadable_too_large" => "cannot be read: over 64 KiB",
        "unreadable_format" => "cannot be read: not of the format that is configured",
        "unreadable_signature" => "cannot be read: none of `secrets` signed them",
        other => other,
    }
}
