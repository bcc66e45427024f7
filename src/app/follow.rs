//! Work that goes on by the newest configuration, and what asks for a new one.

use super::reload::Reloader;
use super::snapshot::Snapshot;
use crate::config::Config;
use std::future::Future;
use std::future::pending;
use std::io;
use std::sync::Arc;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::watch;

/// Does `work` by the newest snapshot, anew whenever `part` of its settings is another. To be ended by dropping.
pub(super) async fn by_newest<T, F>(
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    part: impl Fn(&Config) -> T,
    work: impl Fn(Arc<Snapshot>) -> F,
) where
    T: PartialEq,
    F: Future<Output = ()>,
{
    loop {
        let newest = Arc::clone(&snapshots.borrow_and_update());
        let goes_by = part(&newest.config);
        let changed = async {
            // Without whoever makes snapshots none comes.
            if snapshots.wait_for(|now| part(&now.config) != goes_by).await.is_err() {
                pending::<()>().await;
            }
        };
        let working = async {
            work(newest).await;
            // What ends by itself has nothing to do by these settings.
            pending::<()>().await;
        };
        tokio::select! {
            () = working => {}
            () = changed => {}
        }
    }
}

impl Reloader {
    /// Reloads on each SIGHUP, until the process ends.
    ///
    /// # Errors
    /// The signal cannot be caught.
    pub fn reload_on_signal(self: &Arc<Self>) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        let (this, lifecycle) = (Arc::clone(self), self.permanent.lifecycle.clone());
        let stop = lifecycle.hard.clone();
        let work = async move {
            while hangups.recv().await.is_some() {
                // Told in the log.
                let _ = this.reload("signal").await;
            }
        };
        lifecycle
            .tasks
            .spawn(async move { stop.run_until_cancelled(work).await });
        Ok(())
    }
}
