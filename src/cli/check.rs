//! `portcullis check`: whether a configuration may take effect.

use super::failure;
use super::output;
use super::place;
use crate::config::Config;
use crate::config::Problems;
use crate::session;
use crate::store;
use crate::store::Instance;
use crate::store::Place;
use crate::store::Role;
use crate::store::Severity;
use crate::store::Store;
use crate::telemetry::Chain;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The most that one question of `--online` may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Check a configuration without running it: 0 valid, 1 could not check, 2 invalid
#[derive(Args, Debug)]
pub(super) struct Options {
    /// The file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Also ask the database, and look up the addresses of applications
    #[arg(long)]
    online: bool,
    /// How to answer
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) async fn run(options: Options) -> Result<ExitCode> {
    let file = place::config_file(options.config, "")?;
    let (config, problems) = match place::read(&file) {
        Ok(loaded) => (Some(loaded.config), loaded.warnings),
        Err(problems) => (None, problems),
    };
    let Asked {
        unasked,
        strangers,
        sources,
    } = match &config {
        Some(config) if options.online => ask(config).await,
        _ => Asked::default(),
    };
    let code = match &config {
        None if problems.could_not_read() => 1,
        None => 2,
        Some(_) if unasked.is_empty() => 0,
        Some(_) => 1,
    };
    if options.format == Format::Json {
        let mut answer = problems.to_json();
        answer["valid"] = json!(config.is_some());
        answer["online"] = json!(unasked);
        answer["instances"] = json!(strangers);
        answer["sources"] = json!(sources);
        output::json(&answer)?;
    } else {
        for stranger in strangers.iter().chain(&sources) {
            anstream::eprintln!("warning: {stranger}");
        }
        tell(&file.display().to_string(), config.is_some(), &problems, &unasked)?;
    }
    Ok(ExitCode::from(code))
}

fn tell(file: &str, valid: bool, problems: &Problems, unasked: &[String]) -> Result<()> {
    failure::show(problems);
    for failed in unasked {
        anstream::eprintln!("error: {failed}");
    }
    if valid && unasked.is_empty() {
        output::line(format_args!("{file} is valid."))?;
    }
    Ok(())
}

/// What was learned by asking.
#[derive(Default)]
struct Asked {
    /// What could not be had.
    unasked: Vec<String>,
    /// Running instances that one with this configuration would not get on with.
    strangers: Vec<String>,
    /// What is not as it should be with the tables of applications.
    sources: Vec<String>,
}

/// Asks whatever the configuration names that can be asked without changing anything.
async fn ask(config: &Config) -> Asked {
    let mut failed = Vec::new();
    let mut strangers = Vec::new();
    let mut sources = Vec::new();
    match ask_store(config).await {
        Ok(found) => strangers = found,
        Err(error) => failed.push(Chain(error.as_ref()).to_string()),
    }
    for source in &config.session.sources {
        let report = session::check_source(source, crate::clock::Clock::system()).await;
        for finding in report.findings {
            let text = format!("source {}: {}", report.name, finding.text);
            match finding.severity {
                Severity::Fault => failed.push(text),
                Severity::Warning => sources.push(text),
                Severity::Fine => {}
            }
        }
    }
    for upstream in &config.proxy.upstreams {
        for server in &upstream.servers {
            if let Err(error) = look_up(&server.host, server.port).await {
                failed.push(format!("upstream {}: {}", upstream.name, Chain(error.as_ref())));
            }
        }
    }
    Asked {
        unasked: failed,
        strangers,
        sources,
    }
}

/// Connects and reads which migrations the database has, and which instances run on it.
async fn ask_store(config: &Config) -> Result<Vec<String>> {
    if let Place::Sqlite { path } = &config.store.place
        && !path.exists()
    {
        // It is made at the first start.
        return Ok(Vec::new());
    }
    let store = store::open(&config.store, Role::Migration, crate::clock::Clock::system()).await?;
    let asked = tokio::time::timeout(PATIENCE, running(store.as_ref())).await;
    let outcome = asked.unwrap_or(Err(store::StoreError::TimedOut));
    let _ = store.close().await;
    let all = outcome.with_context(|| store.description())?;
    let ours = session::signing(&config.session.secrets, &config.session.cookie);
    let told = |(one, discord): (&Instance, session::Discord)| {
        format!(
            "an instance with this configuration would be \"this one\": the running instance on {} ({}) {}",
            one.host,
            one.address,
            discord.advice()
        )
    };
    Ok(session::strangers(&ours, &all).into_iter().map(told).collect())
}

/// The instances that run; none where the database is still to be migrated.
async fn running(store: &dyn Store) -> Result<Vec<store::SeenInstance>, store::StoreError> {
    if !store.migrate(true).await?.is_empty() {
        return Ok(Vec::new());
    }
    // Nothing is due, so this changes nothing.
    store.prepare().await?;
    store.list_instances().await
}

async fn look_up(host: &str, port: u16) -> Result<()> {
    let asked = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let found = asked.with_context(|| format!("no answer to the look-up of {host}"))?;
    found.map(drop).with_context(|| format!("{host} has no address"))
}
