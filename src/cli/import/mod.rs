//! `portcullis user import`: users of other programs, with their password hashes.
//!
//! It reads one line after the other and adds users in batches, so that memory does not grow with the file. It makes and
//! changes no password: hashes are kept as they are and replaced by ours when their users sign in.
//!
//! Called by `user`. What must always hold: a line that is refused stops nothing and is told with its number and reason,
//! and no text of a password or hash; what was added stays added when a later line, or the database, fails, and running
//! the import again adds the rest.

mod lines;
mod rows;

use super::output;
use super::place::{Desk, Place};
use crate::account::ReadyAccount;
use crate::store::Added;
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rows::{Row, Rows};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Users in one transaction: few enough that it ends in time on a slow network, four questions each.
const BATCH: usize = 100;
/// Most problems that are kept for `--json`; all are written to standard error.
const MOST_PROBLEMS: usize = 1000;

/// Add users of another program, with their password hashes
///
/// FILE is CSV with a heading, or one JSON object a line; - is standard input. Columns, in any order: username, which must
/// be there; email; `email_verified` (true or false; true where it is absent); name; groups (in CSV with ; between them, in
/// JSON a list); `password_hash`; state (active or disabled); `created_at` (RFC 3339). Columns that are not known are
/// refused.
///
/// Hashes may be Argon2, bcrypt, scrypt or PBKDF2, also as Django, Werkzeug and passlib write them; each is checked as it is
/// and replaced by Argon2id when its user signs in. Without one (or with Django's ! for none) a user cannot sign in until a
/// password is set.
///
/// A line that is refused is told with its number, and the others are added; the exit code is 1 then. Users who are there
/// already are left as they are, so the same file can be imported again.
#[derive(Args, Debug)]
pub(super) struct Import {
    /// The file, or - for standard input
    file: PathBuf,
    /// How it is written, where that is not to be told by its name or its first character
    #[arg(long)]
    format: Option<Format>,
    /// Check every line and tell what would be added; add nobody
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values with a heading
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
struct Report {
    dry_run: bool,
    /// Users who were added, or would be.
    added: u64,
    /// Users who were there already.
    skipped: u64,
    /// Lines that were refused.
    refused: u64,
    /// The first of these.
    problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    line: u64,
    reason: String,
}

pub(super) async fn run(options: Import) -> Result<()> {
    let mut rows = Rows::open(&options.file, options.format)?;
    let desk = options.place.open().await?;
    let mut run = Run {
        report: Report {
            dry_run: options.dry_run,
            ..Report::default()
        },
        bar: bar(rows.length()),
        seen: BTreeSet::new(),
    };
    let outcome = run.all(&desk, &mut rows).await;
    desk.close().await;
    run.bar.finish_and_clear();
    let report = run.report;
    if options.place.json {
        output::json(&report)?;
    } else {
        output::line(report.in_words())?;
    }
    outcome?;
    if report.refused > 0 {
        bail!(
            "{} refused; the others are done",
            output::count(count(report.refused), "line")
        );
    }
    Ok(())
}

struct Run {
    report: Report,
    bar: ProgressBar,
    /// Names that a dry run has met, as numbers: nothing is stored that could tell them to it.
    seen: BTreeSet<u64>,
}

impl Run {
    async fn all(&mut self, desk: &Desk, rows: &mut Rows) -> Result<()> {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some((line, row)) = rows.next()? {
            match row.and_then(|row: Row| Ok(desk.accounts.ready(row.into_account()?, Desk::ACTOR)?)) {
                Ok(ready) => batch.push((line, ready)),
                Err(reason) => self.refuse(line, &reason),
            }
            if batch.len() == BATCH {
                self.add(desk, std::mem::take(&mut batch)).await?;
            }
            self.bar.set_position(rows.position());
        }
        self.add(desk, batch).await
    }

    async fn add(&mut self, desk: &Desk, batch: Vec<(u64, ReadyAccount)>) -> Result<()> {
        let dry_run = self.report.dry_run;
        let (lines, ready): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let twice: Vec<_> = ready.iter().map(|one| dry_run && self.was_met(one)).collect();
        let outcomes = desk.accounts.import(ready, dry_run).await?;
        for ((line, outcome), twice) in lines.into_iter().zip(outcomes).zip(twice) {
            match outcome {
                Added::Done if twice => self.refuse(line, &"the name or the address stands in an earlier line"),
                Added::Done => self.report.added += 1,
                Added::Taken("the user name") => self.report.skipped += 1,
                Added::Taken(what) => self.refuse(line, &format_args!("{what} is another user's")),
            }
        }
        Ok(())
    }

    fn was_met(&mut self, ready: &ReadyAccount) -> bool {
        let (username, email) = ready.names();
        let mut met = false;
        for name in [Some(username), email.filter(|email| *email != username)]
            .into_iter()
            .flatten()
        {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            met |= !self.seen.insert(hasher.finish());
        }
        met
    }

    fn refuse(&mut self, line: u64, reason: &dyn Display) {
        self.report.refused += 1;
        let reason = reason.to_string();
        self.bar.suspend(|| anstream::eprintln!("line {line}: {reason}"));
        if self.report.problems.len() < MOST_PROBLEMS {
            self.report.problems.push(Problem { line, reason });
        }
    }
}

impl Report {
    fn in_words(&self) -> String {
        let added = output::count(count(self.added), "user");
        let verb = match (self.dry_run, self.added) {
            (true, _) => "would be",
            (false, 1) => "was",
            (false, _) => "were",
        };
        format!(
            "{added} {verb} added, {} skipped because they are there, {} refused.",
            self.skipped, self.refused
        )
    }
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A bar on a terminal, and nothing elsewhere; without a length it tells only how far it came.
fn bar(length: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match length {
        Some(length) => (ProgressBar::new(length), "{wide_bar} {bytes}/{total_bytes} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}"),
    };
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
