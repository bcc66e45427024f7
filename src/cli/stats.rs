//! `portcullis session stats`: sessions and log-ins in numbers.

use super::output;
use super::place::Place;
use crate::session;
use crate::session::Figures;
use crate::session::InstanceFacts;
use crate::session::LogIns;
use anyhow::Result;
use clap::Args;

/// Sessions and log-ins in numbers
#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(options: Options) -> Result<()> {
    let desk = options.place.open().await?;
    let figures = session::figures(&*desk.store).await?;
    desk.close().await;
    if options.place.json {
        return output::json(&figures);
    }
    tell(&figures)
}

fn tell(figures: &Figures) -> Result<()> {
    let sessions = &figures.sessions;
    let each = sessions
        .bytes_each
        .map_or_else(|| "-".into(), |bytes| format!("{bytes} bytes"));
    output::facts(&[
        ("active", sessions.active.to_string()),
        ("expired", format!("{} (not removed yet)", sessions.expired)),
        ("total", sessions.total.to_string()),
        ("signed in today", sessions.created_today.to_string()),
        ("users", sessions.users.to_string()),
        ("a session takes", each),
    ])?;
    if let Some(users) = figures.users.as_ref().filter(|users| !users.is_empty()) {
        let rows = users
            .iter()
            .map(|one| vec![one.user.to_string(), one.sessions.to_string()]);
        output::line("")?;
        output::table(&["user", "active sessions"], rows)?;
    }
    tell_instances(figures.instances.as_deref().unwrap_or_default())?;
    match &figures.log_ins {
        Some(log_ins) => tell_log_ins(log_ins),
        None => output::line("\nLog-ins could not be counted in time."),
    }
}

fn tell_instances(instances: &[InstanceFacts]) -> Result<()> {
    if instances.is_empty() {
        return Ok(());
    }
    let rows = instances.iter().map(|one| {
        let state = match (one.live, one.refuses_cookies_of.is_empty()) {
            (false, _) => "silent",
            (true, true) => "runs",
            (true, false) => "runs; refuses cookies of others",
        };
        let seen = one.last_seen_at.to_string();
        vec![
            one.host.clone(),
            one.address.clone(),
            one.version.clone(),
            seen,
            state.to_owned(),
        ]
    });
    output::line("")?;
    output::table(&["instance", "listens on", "version", "last seen", "state"], rows)?;
    if instances.iter().any(|one| !one.refuses_cookies_of.is_empty()) {
        output::line(
            "Users are signed out when they move to an instance that refuses the other's cookies. `portcullis check \
             --online` with the configuration of either says why and what to do.",
        )?;
    }
    Ok(())
}

fn tell_log_ins(log_ins: &LogIns) -> Result<()> {
    let counts = |rows: Vec<(String, u64)>| rows.into_iter().map(|(what, count)| vec![what, count.to_string()]);
    output::line(format_args!("\nLog-ins since {}", log_ins.since))?;
    let days = log_ins.by_day.iter().filter(|day| day.succeeded + day.failed > 0);
    let days = days.map(|day| vec![day.day.clone(), day.succeeded.to_string(), day.failed.to_string()]);
    output::table(&["day (UTC)", "log-ins", "refused"], days)?;
    let hours = log_ins.by_hour.iter().enumerate().filter(|(_, count)| **count > 0);
    let hours = hours.map(|(hour, count)| (format!("{hour:02}:00"), *count)).collect();
    output::table(&["hour (UTC)", "log-ins"], counts(hours))?;
    let networks = log_ins
        .by_network
        .iter()
        .map(|one| (one.network.clone(), one.log_ins))
        .collect();
    output::table(&["network", "log-ins"], counts(networks))?;
    let failures = log_ins
        .failures
        .iter()
        .map(|one| (one.reason.clone(), one.count))
        .collect();
    output::table(&["refused because", "times"], counts(failures))
}
