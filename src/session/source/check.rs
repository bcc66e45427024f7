//! Whether a source can be read as it was configured: the table, and what its rows say.

use super::Lookups;
use super::SourceSettings;
use super::lookups::Nobody;
use crate::clock::Clock;
use crate::store::DdlError;
use crate::store::Expiry;
use crate::store::Finding;
use crate::store::LegacyFeed;
use crate::store::LegacyRow;
use crate::store::LegacyTable;
use crate::store::Sample;
use crate::store::Severity;
use crate::store::StoreError;
use crate::store::Trigger;
use crate::store::Unit;
use crate::store::Zone;
use crate::telemetry::Chain;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A quarter of an hour: zones differ by no less.
const STEP: f64 = 900.0;

/// What was found of one source.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// Which.
    pub name: String,
    /// What was looked at, in the order in which it matters.
    pub findings: Vec<Finding>,
}

impl SourceReport {
    /// Whether nothing stands against it.
    #[must_use]
    pub fn works(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Fault)
    }
}

/// Asks the application's database. Writes nothing; ends within half a minute or so.
pub async fn check_source(settings: &SourceSettings, clock: Clock) -> SourceReport {
    let findings = match look(settings, clock).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::fault(Chain(&error).to_string())],
    };
    SourceReport {
        name: settings.name.clone(),
        findings,
    }
}

async fn look(settings: &SourceSettings, clock: Clock) -> Result<Vec<Finding>, StoreError> {
    if settings.moved {
        return Ok(moved(settings, clock).await);
    }
    let table = LegacyTable::new(settings.table.clone(), clock.clone())?;
    let mut findings = table.check().await?;
    if findings.iter().any(|finding| finding.severity == Severity::Fault) {
        return Ok(findings);
    }
    if !table.is_there().await? {
        // It is to be made; nothing is written here.
        return Ok(findings);
    }
    let samples = table.sample().await?;
    findings.extend(rows(settings, &samples, clock.clone()).await?);
    findings.extend(zone(settings, &samples, &table.zone().await?));
    findings.push(trigger(settings, clock).await?);
    Ok(findings)
}

/// What there is to say of a source whose table nobody asks any more but `session import`.
async fn moved(settings: &SourceSettings, clock: Clock) -> Vec<Finding> {
    let name = &settings.name;
    let mut findings = vec![Finding::fine(
        "moved = true: the application's cookie names the copies in the gateway's own store, and its table is not asked; \
         `portcullis session list` shows who is signed in",
    )];
    if settings.table.url.expose_secret().is_empty() {
        findings.push(Finding::fine("store_url is gone: nothing is copied any more"));
        return findings;
    }
    let looked = match LegacyTable::new(settings.table.clone(), clock) {
        Ok(table) => table.check().await,
        Err(error) => Err(error),
    };
    let fault = match looked {
        Ok(found) => found
            .into_iter()
            .find(|finding| finding.severity == Severity::Fault)
            .map(|finding| finding.text),
        Err(error) => Some(Chain(&error).to_string()),
    };
    findings.push(match fault {
        None => Finding::fine(format!(
            "the table is still there, for `portcullis session import --source {name}`"
        )),
        Some(fault) => Finding::warning(format!(
            "`portcullis session import --source {name}` could copy nothing: {fault}. Where the last run was made, take \
             store_url out"
        )),
    });
    findings
}

/// Whether log-outs in the application are told as they happen.
async fn trigger(settings: &SourceSettings, clock: Clock) -> Result<Finding, StoreError> {
    let name = &settings.name;
    let bound = format!("{} seconds", settings.max_age.as_secs_f64());
    let standing = match LegacyFeed::new(settings.table.clone(), clock)?.trigger().await {
        Ok(standing) => standing,
        Err(DdlError::Store(error)) => return Err(error),
        Err(error) => return Ok(Finding::warning(Chain(&error).to_string())),
    };
    Ok(match standing {
        Trigger::Current => Finding::fine("log-outs in the application count at once: its table has the trigger"),
        Trigger::Absent => Finding::fine(format!(
            "log-outs in the application count within {bound}; at once with the trigger that `portcullis source ddl {name}` \
             prints"
        )),
        Trigger::Other => Finding::warning(format!(
            "the table has a trigger that is switched off, or not the one that belongs to this configuration, so log-outs \
             in the application count within {bound}: run what `portcullis source ddl {name}` prints"
        )),
        Trigger::Impossible => Finding::fine(format!(
            "log-outs in the application count within {bound}; the table is a view, partitioned, or inherits, and can have \
             no trigger that sees every row that goes"
        )),
    })
}

/// How many live rows can be read, and of how many the user resolves.
async fn rows(settings: &SourceSettings, samples: &[Sample], clock: Clock) -> Result<Vec<Finding>, StoreError> {
    let live: Vec<&Sample> = samples.iter().filter(|sample| !sample.left.is_zero()).collect();
    if live.is_empty() {
        let text = "there is no live row to look at: sign in to the application, and check once more";
        return Ok(vec![Finding::warning(text)]);
    }
    let lookups = Lookups::new(settings.clone(), clock)?;
    let (mut unread, mut resolved, mut inactive) = (None, 0_usize, 0_usize);
    for sample in &live {
        let row = LegacyRow {
            columns: Some(sample.columns.clone()),
            payload: sample.payload.clone(),
            verify: None,
            left: sample.left,
        };
        match lookups.holder_of(row).await? {
            Ok(_) => resolved += 1,
            Err(Nobody::Visitor) => {}
            Err(Nobody::Inactive) => inactive += 1,
            Err(Nobody::Unreadable(error)) => unread = Some(error),
        }
    }
    let mut findings = Vec::new();
    if let Some(error) = unread {
        findings.push(Finding::fault(format!(
            "a payload cannot be read: {error}. Are `preset`, `payload_format` and `secrets` the application's?"
        )));
    }
    let text = format!("{resolved} of {} live rows name a user", live.len());
    findings.push(match (resolved, inactive) {
        (0, 0) => Finding::fault(format!(
            "{text}: `user`, `require` or `refuse` do not fit, or nobody is signed in. Look at one row and name the place \
             of the user's key"
        )),
        (_, 0) => Finding::fine(text),
        (0, _) => Finding::fault(format!("{text}: {}", not_known(settings, inactive))),
        _ => Finding::fine(format!("{text}; {}", not_known(settings, inactive))),
    });
    Ok(findings)
}

/// Of users whom the application's table of users does not let in.
fn not_known(settings: &SourceSettings, count: usize) -> String {
    let users = settings.table.users.as_ref();
    let (table, key) = users.map_or(("the users' table", "id"), |users| (&users.table, &users.key));
    format!(
        "{count} name one who is not in {table} by {key}, is not active there, or has another password since (`users_key`, \
         `users_active`)"
    )
}

/// Whether the clock that the column shows is that of the zone. Rows whose last write was a whole one say it themselves:
/// their payload has the same moment in UTC.
fn zone(settings: &SourceSettings, samples: &[Sample], zone: &str) -> Option<Finding> {
    let Expiry::At {
        unit: Unit::Timestamp, ..
    } = settings.mapping.expiry
    else {
        return None;
    };
    // Of each row: what its clock is ahead of UTC, and what the configured zone says that it is. A zone that is wrong may
    // make every row look over, so those count as well.
    let mut votes: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for sample in samples {
        if let (Some(wall), Some(said), Some(expected)) = (sample.wall, said_end(settings, sample), sample.ahead) {
            let ahead = wall - said;
            if (0.0..1.0).contains(&ahead.rem_euclid(STEP)) {
                let expected = quarters(expected + STEP / 2.0);
                *votes.entry((quarters(ahead), expected)).or_default() += 1;
            }
        }
    }
    let ((shown, expected), count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
    let minutes = shown * 15;
    let offset = format!(
        "{}{:02}:{:02}",
        if minutes < 0 { '-' } else { '+' },
        minutes.abs() / 60,
        minutes.abs() % 60
    );
    if shown == expected {
        return Some(Finding::fine(format!(
            "{count} rows agree with the zone {zone} (UTC{offset})"
        )));
    }
    let fix = match &settings.table.zone {
        Zone::Session { .. } => {
            "the role of store_url has another zone than the application's connections: write zone = \"…\" with the \
             application's, as an IANA name"
        }
        _ => "write zone = \"…\" with the application's, as an IANA name",
    };
    Some(Finding::fault(format!(
        "`zone` is {zone}, but {count} rows show a clock at UTC{offset}; sessions would end at the wrong time: {fix}"
    )))
}

fn quarters(seconds: f64) -> i64 {
    time::Duration::seconds_f64(seconds.div_euclid(STEP) * STEP).whole_minutes() / 15
}

/// The end that the payload itself says, in seconds since 1970.
fn said_end(settings: &SourceSettings, sample: &Sample) -> Option<f64> {
    let payload = settings.payload(sample.payload.as_deref()).ok()?;
    let text = payload.pointer("/cookie/expires")?.as_str()?;
    let end = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(seconds(end))
}

/// Since 1970.
fn seconds(at: OffsetDateTime) -> f64 {
    (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}
