use super::Ask;
use crate::admin::Admin;
use crate::admin::refusal::Refusal;
use crate::session::Swept;
use crate::web::Answer;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long an answer waits for the end of a sweep, which goes on afterwards.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a sweep that somebody asked for.
pub(in crate::admin) enum Sweeping {
    /// It removed so many sessions.
    Done(u64),
    /// It goes on; so many sessions are gone by now.
    Running(u64),
    /// Another instance sweeps at this moment.
    Elsewhere,
}

impl Admin {
    pub(super) async fn sweep(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let (state, removed) = match self.sweep_now().await? {
            Sweeping::Done(removed) => ("done", removed),
            Sweeping::Running(removed) => ("running", removed),
            Sweeping::Elsewhere => ("elsewhere", 0),
        };
        Ok(ask.json(&json!({ "state": state, "removed": removed })))
    }

    /// Sweeps on a task of its own, so that an answer that is due does not stop it half-way.
    ///
    /// # Errors
    /// `Unavailable`; what was removed before stays removed.
    pub(in crate::admin) async fn sweep_now(&self) -> Result<Sweeping, Refusal> {
        let removed = Arc::new(AtomicU64::new(0));
        let (sessions, count) = (Arc::clone(&self.sessions), Arc::clone(&removed));
        let task = tokio::spawn(async move { sessions.sweep(move |gone| count.store(gone, Relaxed)).await });
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(Ok(Swept::Removed(count, _)))) => Ok(Sweeping::Done(count)),
            Ok(Ok(Ok(Swept::Elsewhere))) => Ok(Sweeping::Elsewhere),
            Ok(Ok(Err(error))) => Err(error.into()),
            Ok(Err(_)) => Err(Refusal::Unavailable),
            Err(_) => Ok(Sweeping::Running(removed.load(Relaxed))),
        }
    }
}
