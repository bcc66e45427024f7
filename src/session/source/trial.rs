//! Why a cookie names nobody, told to an operator who has one in hand.

use super::SourceSettings;
use super::lookups::Lookups;
use super::lookups::holds_secret;
use super::steps;
use super::steps::Step;
use crate::clock::Clock;
use crate::store::Finding;
use crate::store::StoreError;
use crate::telemetry::Chain;

/// Tries a cookie of the application's, `name=value` or the value alone, and says whose it is or what stands against it.
/// Writes nothing, and shows nothing of the cookie.
pub async fn try_cookie(settings: &SourceSettings, cookie: &str, clock: Clock) -> Finding {
    match look(settings, cookie.trim(), clock).await {
        Ok(finding) => finding,
        Err(error) => Finding::fault(Chain(&error).to_string()),
    }
}

async fn look(settings: &SourceSettings, cookie: &str, clock: Clock) -> Result<Finding, StoreError> {
    let now = clock.now().as_seconds();
    let (name, value) = parts(settings, cookie);
    let run = |steps: &[Step]| steps::run(steps, value.as_bytes(), name, &settings.secrets, now);
    let all = &settings.mapping.steps;
    let Some(key) = run(all) else {
        let failing = (1..=all.len()).find(|many| run(&all[..*many]).is_none());
        return Ok(Finding::fault(misfit(failing.map(|many| &all[many - 1]))));
    };
    if settings.moved {
        return Ok(Finding::fine(
            "the cookie is the library's; moved = true, so it names a copy in the gateway's own store, or nobody: the table \
             is not asked whose it is",
        ));
    }
    // Nothing is made by a trial.
    let mut reading = settings.clone();
    reading.table.adding.table = false;
    let lookups = Lookups::new(reading, clock)?;
    let row = lookups.table().find(&key.text).await?;
    let Some(row) = row else {
        return Ok(Finding::fault(
            "the cookie is the library's, and no row has its key: its session has ended, or `table`, `key` or `store_url` \
             are another application's",
        ));
    };
    if !holds_secret(&key, &row) {
        let column = settings.mapping.verified().unwrap_or_default();
        return Ok(Finding::fault(format!(
            "the cookie's row holds the hash of another secret: has it been changed, and is {column:?} the column with the \
             SHA-256 of what stands behind the dot (`verify`)?"
        )));
    }
    if row.left.is_zero() {
        return Ok(Finding::fault(
            "the cookie's row is over: where the application still knows its user, `zone` or `lifetime` is wrong",
        ));
    }
    Ok(match lookups.user_of(row).await? {
        Some(user) => Finding::fine(format!("the cookie is that of {}", user.username)),
        None => Finding::fault(
            "the cookie's row names no user: nobody is signed in by it, or `user`, `require`, `refuse` or the users' table \
             do not fit",
        ),
    })
}

/// The name under which a cookie came, and its value, which may have equals signs of its own.
fn parts<'a>(settings: &'a SourceSettings, cookie: &'a str) -> (&'a str, &'a str) {
    let names = &settings.mapping.cookies;
    let split = |name: &'a String| Some((name.as_str(), cookie.strip_prefix(name.as_str())?.strip_prefix('=')?));
    let alone = (names.first().map_or("", String::as_str), cookie);
    names.iter().find_map(split).unwrap_or(alone)
}

/// What to do about a step that does not fit.
fn misfit(step: Option<&Step>) -> String {
    match step {
        Some(Step::HmacVerify { .. } | Step::LaravelDecrypt | Step::RailsSigned) => {
            "the cookie is signed with none of `secrets`, or it has been changed: write what the application signs its \
             cookies with, as secrets = [\"env:SESSION_SECRET\"], and the one before it while cookies of that one live"
                .to_owned()
        }
        Some(Step::SplitVerify { separator, .. }) => format!(
            "the cookie has no {separator:?} between an id and a secret: are `preset`, `verify` and `cookie` the \
             application's, and is this its session cookie?"
        ),
        Some(Step::RequirePrefix(prefix)) => format!(
            "the cookie does not begin with {prefix:?} as the library's do: are `preset` and `cookie` the application's, \
             and is this its session cookie?"
        ),
        _ => {
            "this is no cookie of the library's: are `preset` and `cookie` the application's, and is this its session \
              cookie?"
                .to_owned()
        }
    }
}
