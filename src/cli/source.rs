//! `portcullis source`: the applications whose own sessions count, and whether they can be read as configured.

use super::failure::Wrong;
use super::output;
use super::place;
use crate::clock::Clock;
use crate::session::SourceReport;
use crate::session::SourceSettings;
use crate::session::check_source;
use crate::session::try_cookie;
use crate::store::Finding;
use crate::store::LegacyFeed;
use crate::store::Severity;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The most that is read for a cookie.
const LONGEST_COOKIE: u64 = 8 * 1024;

/// See the applications whose own sessions count here, and try whether they can be read
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List the sources of the configuration
    List(List),
    /// Print the trigger by which log-outs in the application count here at once; nothing is ever applied
    Ddl(PrintDdl),
    /// Look at a source's table, columns, index, rights, time zone and rows: 0 it works, 1 it does not
    Check(Check),
}

#[derive(Args, Debug)]
struct Which {
    /// The configuration of the gateway
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub(super) struct Check {
    /// Its name; all of them without one
    name: Option<String>,
    /// Read a session cookie of the application from standard input, and say whose it is or why it is nobody's
    #[arg(long, requires = "name")]
    cookie_stdin: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Args, Debug)]
pub(super) struct PrintDdl {
    /// Its name
    name: String,
    /// Print what takes the trigger away, instead
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    which: Which,
}

pub(super) async fn run(command: Command) -> Result<()> {
    match command {
        Command::Ddl(options) => ddl(options).await,
        Command::List(options) => list(&sources(&options.which)?, options.which.json),
        Command::Check(options) => check(options).await,
    }
}

fn sources(which: &Which) -> Result<Vec<SourceSettings>> {
    let file = place::config_file(which.config.clone(), "")?;
    Ok(place::load(&file)?.session.sources)
}

async fn ddl(options: PrintDdl) -> Result<()> {
    let source = named(&sources(&options.which)?, &options.name)?.clone();
    let feed = LegacyFeed::new(source.table, Clock::system())?;
    let ddl = feed.ddl().await?;
    if options.which.json {
        let name = &source.name;
        return output::json(&json!({ "name": name, "ddl": ddl.apply, "undo": ddl.undo }));
    }
    if options.undo {
        return output::line(ddl.undo.trim_end());
    }
    let mut text = format!("{}\n-- The undo (also: --undo):", ddl.apply);
    for line in ddl.undo.lines() {
        text.push_str("\n-- ");
        text.push_str(line);
    }
    output::line(text)
}

fn named<'a>(sources: &'a [SourceSettings], name: &str) -> Result<&'a SourceSettings> {
    let found = sources.iter().find(|source| source.name == name);
    found.ok_or_else(|| {
        let message = format!("there is no source {name:?}; `portcullis source list` shows them");
        Wrong(message).into()
    })
}

fn list(sources: &[SourceSettings], as_json: bool) -> Result<()> {
    let facts = |source: &SourceSettings| {
        let mapping = &source.mapping;
        vec![
            source.name.clone(),
            source.hosts.join(", "),
            mapping.cookies.join(", "),
            mapping.table.clone(),
        ]
    };
    if as_json {
        let items: Vec<_> = sources
            .iter()
            .map(|source| {
                json!({
                    "name": source.name,
                    "hosts": source.hosts,
                    "cookies": source.mapping.cookies,
                    "table": source.mapping.table,
                })
            })
            .collect();
        return output::json(&json!({ "items": items }));
    }
    if sources.is_empty() {
        return output::line("No [[source]] is configured: only sessions of the gateway count.");
    }
    output::table(&["name", "hosts", "cookie", "table"], sources.iter().map(facts))
}

async fn check(options: Check) -> Result<()> {
    let mut sources = sources(&options.which)?;
    if let Some(name) = &options.name {
        sources = vec![named(&sources, name)?.clone()];
    }
    let cookie = options.cookie_stdin.then(given_cookie).transpose()?;
    let mut works = true;
    let mut reports = Vec::new();
    for source in sources {
        let mut report = check_source(&source, Clock::system()).await;
        if let Some(cookie) = &cookie {
            report.findings.push(try_cookie(&source, cookie, Clock::system()).await);
        }
        works &= report.works();
        reports.push(report);
    }
    if options.which.json {
        let items: Vec<_> = reports.iter().map(facts).collect();
        output::json(&json!({ "items": items }))?;
    } else {
        for report in &reports {
            output::line(format_args!("{}", report.name))?;
            for finding in &report.findings {
                output::line(format_args!("  {} {}", mark(finding), finding.text))?;
            }
        }
    }
    if works {
        Ok(())
    } else {
        bail!("not every source can be read as it is configured")
    }
}

/// The first line; who has it is signed in.
fn given_cookie() -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(std::io::stdin().lock().take(LONGEST_COOKIE))
        .read_line(&mut line)
        .context("cannot read the cookie from standard input")?;
    Ok(line)
}

fn facts(report: &SourceReport) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| json!({ "severity": word(finding.severity), "text": finding.text }))
        .collect();
    json!({ "name": report.name, "works": report.works(), "findings": findings })
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "fine",
        Severity::Warning => "warning",
        Severity::Fault => "fault",
    }
}

const fn mark(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Fine => "ok     ",
        Severity::Warning => "warning",
        Severity::Fault => "FAULT  ",
    }
}
