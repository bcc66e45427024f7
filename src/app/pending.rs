//! What a configuration cannot change while the gateway runs.

use crate::config::Config;
use crate::store;
use crate::store::Place;
use crate::telemetry::Format;
use secrecy::ExposeSecret;
use secrecy::SecretString;

/// Why `wanted` cannot take the place of `started` at all, not even in part: the users, groups and sessions that it was
/// written for are others.
pub(super) fn objection(started: &Config, wanted: &Config) -> Option<&'static str> {
    if !store::is_same(&started.store, &wanted.store) {
        Some(
            "[store] names another database, with other users and sessions than those of the running gateway; nothing was \
             applied: restart it, or put the old database back",
        )
    } else if started.data_dir != wanted.data_dir {
        Some(
            "`data_dir` is another folder, with other secrets and certificates; nothing was applied: restart the gateway, or \
             put the old one back",
        )
    } else {
        None
    }
}

/// Keys whose change waits for a restart, besides those of listeners.
pub(super) fn keys(started: &Config, wanted: &Config) -> Vec<String> {
    let (old, new) = (&started.store, &wanted.store);
    let changed = [
        ("workers", started.net.workers != wanted.net.workers),
        (
            "limits.connections",
            started.net.limits.connections != wanted.net.limits.connections,
        ),
        (
            "cache.capacity",
            started.session.cache.capacity != wanted.session.cache.capacity,
        ),
        (
            "log.format",
            !same_format(started.telemetry.format, wanted.telemetry.format),
        ),
        ("store.url", urls(&old.place).0 != urls(&new.place).0),
        ("store.listen_url", urls(&old.place).1 != urls(&new.place).1),
        ("store.max_connections", old.max_connections != new.max_connections),
        ("store.call_timeout", old.call_timeout != new.call_timeout),
        ("store.migrate", old.migrate != new.migrate),
        (
            "store.required_at_start",
            old.required_at_start != new.required_at_start,
        ),
        (
            "store.prepared_statements",
            old.prepared_statements != new.prepared_statements,
        ),
    ];
    let pending = changed.into_iter().filter(|(_, changed)| *changed);
    pending.map(|(key, _)| key.to_owned()).collect()
}

/// The form on stderr is chosen once; whether there is an access log, and where, is not.
fn same_format(started: Format, wanted: Format) -> bool {
    started == wanted
}

fn urls(place: &Place) -> (Option<&str>, Option<&str>) {
    match place {
        Place::Postgres { url, direct_url, .. } => {
            let direct = direct_url.as_ref().map(SecretString::expose_secret);
            (Some(url.expose_secret()), direct)
        }
        Place::Sqlite { .. } => (None, None),
    }
}
