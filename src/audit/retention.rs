use super::Log;
use super::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often old events are looked for.
const EVERY: Duration = Duration::from_hours(1);
/// Most events forgotten by one call, and most calls in one go: what is left waits for the next hour.
const BATCH: u32 = 1_000;
const BATCHES: u32 = 1_000;

impl Log {
    /// Forgets events that are older than the retention, every hour; ends at once where they are kept for ever. Instances
    /// that do the same do not wait for each other. To be ended by dropping.
    pub async fn keep(self: Arc<Self>) {
        let Some(retention) = self.settings.retention else {
            return;
        };
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.forget_older_than(retention).await {
                Ok(0) => {}
                Ok(forgotten) => tracing::info!(forgotten, "old audit events were removed"),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error,
                        "old audit events could not be removed; this is tried again in an hour"
                    );
                }
            }
        }
    }

    /// Forgets what is older, by the database's clock; how much that was.
    ///
    /// # Errors
    /// The store's; some may be forgotten already then.
    pub async fn forget_older_than(&self, retention: Duration) -> Result<u64, StoreError> {
        let before = self.store.now().await?.minus(retention);
        let mut forgotten = 0;
        for _ in 0..BATCHES {
            let count = self.store.forget_events(before, BATCH).await?;
            forgotten += count;
            if count < u64::from(BATCH) {
                break;
            }
        }
        Ok(forgotten)
    }
}
