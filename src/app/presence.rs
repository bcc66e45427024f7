//! This instance among the others on its database.

use super::snapshot::Permanent;
use super::snapshot::Snapshot;
use crate::session::Presence;
use crate::session::Whereabouts;
use std::sync::Arc;
use tokio::sync::watch;

/// Lets the other instances know of this one, and watches whether they understand each other, until the hard stop. How this
/// one signs is asked of the newest snapshot before each beat.
pub(super) fn show(
    permanent: &Permanent,
    listeners: &[String],
    snapshots: watch::Receiver<Arc<Snapshot>>,
) -> Arc<Presence> {
    let whereabouts = Whereabouts {
        host: host_name(),
        address: listeners.first().cloned().unwrap_or_default(),
    };
    let signing = move || snapshots.borrow().sessions.signing();
    let (store, metrics) = (Arc::clone(&permanent.store), Arc::clone(&permanent.metrics));
    let presence = Arc::new(Presence::new(store, metrics, whereabouts, signing));
    let (beating, lifecycle) = (Arc::clone(&presence), &permanent.lifecycle);
    let stop = lifecycle.hard.clone();
    lifecycle.spawn("instances", async move { beating.beat_regularly(stop).await });
    presence
}

/// The machine's name, where the system tells it as a file; a service may be shown the second one only.
fn host_name() -> String {
    let told = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .into_iter()
        .find_map(|file| {
            let text = std::fs::read_to_string(file).ok()?;
            let name = text.trim();
            (!name.is_empty()).then(|| name.to_owned())
        });
    told.unwrap_or_else(|| "a machine without a name".to_owned())
}
