//! Statistics: what the store counts, beside what this process knows. Asked for by many at once, they are taken once.

use super::refusal::Refusal;
use crate::session::Figures;
use crate::session::Sessions;
use crate::telemetry::Metrics;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How old they may be.
const MAX_AGE: Duration = Duration::from_secs(5);

/// How the store is set up, without where it is.
#[derive(Clone, Debug, Serialize)]
pub struct StoreFacts {
    /// `postgres` or `sqlite`.
    pub engine: &'static str,
    /// The schema, on Postgres.
    pub schema: Option<String>,
    /// Most connections, on Postgres.
    pub max_connections: Option<u32>,
    /// The most that a call may take.
    pub call_timeout_seconds: f64,
    /// Whether statements are prepared by name.
    pub prepared_statements: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    figures: &'a Figures,
    process: Process,
    store: &'a StoreFacts,
    /// The most asked for once more at the top, where older administration pages look.
    #[serde(flatten)]
    top: Option<Top>,
}

#[derive(Serialize)]
struct Top {
    total: u64,
    active: u64,
    expired: u64,
}

/// What this process knows since it started.
#[derive(Serialize)]
struct Process {
    lookups: Lookups,
    cache: CacheUse,
}

#[derive(Serialize)]
struct Lookups {
    found: u64,
    absent: u64,
    unavailable: u64,
    median_seconds: Option<f64>,
    p99_seconds: Option<f64>,
}

#[derive(Serialize)]
struct CacheUse {
    entries: u64,
    hits: u64,
    hit_rate: Option<f64>,
}

/// Takes them, and keeps them for a moment.
pub(super) struct Stats {
    metrics: Arc<Metrics>,
    store: StoreFacts,
    kept: moka::future::Cache<(), Arc<Figures>>,
}

impl Stats {
    pub(super) fn new(metrics: Arc<Metrics>, store: StoreFacts) -> Self {
        Self {
            metrics,
            store,
            kept: moka::future::Cache::builder()
                .max_capacity(1)
                .time_to_live(MAX_AGE)
                .build(),
        }
    }

    /// The figures of the store.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn figures(&self, sessions: &Sessions) -> Result<Arc<Figures>, Refusal> {
        let take = async { sessions.figures().await.map(Arc::new).map_err(Refusal::from) };
        self.kept
            .try_get_with((), take)
            .await
            .map_err(|refusal| (*refusal).clone())
    }

    /// Everything as JSON; by an alias, with the numbers of sessions at the top as well.
    pub(super) fn tell(&self, figures: &Figures, aliased: bool) -> Vec<u8> {
        let sessions = &figures.sessions;
        let told = Told {
            figures,
            process: self.process(),
            store: &self.store,
            top: aliased.then_some(Top {
                total: sessions.total,
                active: sessions.active,
                expired: sessions.expired,
            }),
        };
        serde_json::to_vec(&told).unwrap_or_default()
    }

    fn process(&self) -> Process {
        let metrics = &self.metrics;
        let times = metrics.lookup_times();
        let lookups = Lookups {
            found: metrics.lookup("found").get(),
            absent: metrics.lookup("absent").get(),
            unavailable: metrics.lookup("unavailable").get(),
            median_seconds: times.median,
            p99_seconds: times.p99,
        };
        let hits = metrics.cache_hit("first").get() + metrics.cache_hit("shared").get();
        let asked = hits + lookups.found + lookups.absent + lookups.unavailable;
        Process {
            lookups,
            cache: CacheUse {
                entries: u64::try_from(metrics.cache_entries.get()).unwrap_or(0),
                hits,
                hit_rate: share(hits, asked),
            },
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share of more than 2^53 questions may be off by one of them"
)]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
