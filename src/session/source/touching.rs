//! Activity that is written into an application's own rows, where an operator allowed it.

use super::lookups::Lookups;
use super::mapping::Touching;
use crate::model::Timestamp;
use crate::store::Prolonging;
use crate::store::StoreError;
use crate::store::Touch;
use crate::store::Touched;
use serde_json::Value;
use std::time::Duration;

/// Least time between two touches of a row, unless it lives for a short time only.
const TOUCHES_APART: Duration = Duration::from_mins(1);
/// Longest life of a row that a payload may ask for, in seconds.
const LONGEST: f64 = 400.0 * 86_400.0;

impl Lookups {
    /// How long activity makes a row with this payload live; `None` where activity is not written.
    pub(super) fn lifetime(&self, payload: Option<&[u8]>) -> Option<Duration> {
        let touching = self.settings.mapping.touch.as_ref();
        let (place, otherwise) = match touching.filter(|_| self.settings.table.may_touch)? {
            Touching::By(lifetime) => return Some(*lifetime),
            Touching::Payload(place, otherwise) => (place, *otherwise),
        };
        let payload = self.settings.payload(payload).ok()?;
        let said = payload.pointer(place).and_then(Value::as_f64);
        let said = said.filter(|milliseconds| *milliseconds >= 1.0);
        Some(said.map_or(otherwise, |said| Duration::from_secs_f64((said / 1_000.0).min(LONGEST))))
    }

    /// Whether activity is written into its rows.
    pub(crate) fn touches(&self) -> bool {
        self.settings.table.may_touch && self.settings.mapping.touch.is_some()
    }

    /// Writes activity: what became of each touch, in their order. A row that is gone, over, held by somebody or as late
    /// already is left as it is.
    pub(crate) async fn touch(&self, touches: &[Touch], now: Timestamp) -> Result<Vec<Touched>, StoreError> {
        let mut rows = Vec::with_capacity(touches.len());
        let mut keys = Vec::with_capacity(touches.len());
        for touch in touches {
            let key = self.keys.get(&touch.digest).await.map(|key| key.text);
            if let Some(key) = key.clone() {
                let left = touch.expires_at.since(now);
                let step = apart(touch.expires_at.since(touch.seen_at)) / 2;
                rows.push(Prolonging { key, left, step });
            }
            keys.push(key);
        }
        let moved = self.table.prolong(&rows).await?;
        let outcome = |key: Option<String>| match key {
            Some(key) if moved.contains(&key) => Touched::Written,
            _ => Touched::Known,
        };
        Ok(keys.into_iter().map(outcome).collect())
    }
}

/// How long after a touch of a row that lives for `lifetime` the next one is due.
pub(crate) fn apart(lifetime: Duration) -> Duration {
    TOUCHES_APART.min(lifetime / 4)
}
