use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// How well changes by other processes are seen.
#[derive(Clone, Debug, Default)]
pub struct FeedGauges {
    /// 1 while they are, so that cached sessions may be believed for longer.
    pub healthy: Gauge,
    /// Seconds from the sending of the last heartbeat of the feed to its hearing.
    pub lag: Gauge<f64, AtomicU64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: String,
}

/// The same of each source.
#[derive(Debug, Default)]
pub(super) struct SourceFeeds {
    healthy: Family<Source, Gauge>,
    lag: Family<Source, Gauge<f64, AtomicU64>>,
}

impl FeedGauges {
    pub(super) fn registered(all: &mut Registry) -> Self {
        let gauges = Self::default();
        let about = "Whether changes by other processes are seen";
        all.register("feed_healthy", about, gauges.healthy.clone());
        let about = "How late changes by other processes are seen";
        all.register("feed_lag_seconds", about, gauges.lag.clone());
        gauges
    }
}

impl SourceFeeds {
    pub(super) fn registered(all: &mut Registry) -> Self {
        let feeds = Self::default();
        let about = "Whether log-outs in an application are seen as they happen, by its trigger";
        all.register("source_feed_healthy", about, feeds.healthy.clone());
        let about = "How late log-outs in an application are seen, by its trigger";
        all.register("source_feed_lag_seconds", about, feeds.lag.clone());
        feeds
    }

    pub(super) fn of(&self, source: &str) -> FeedGauges {
        let label = Source {
            source: source.to_owned(),
        };
        FeedGauges {
            healthy: self.healthy.get_or_create_owned(&label),
            lag: self.lag.get_or_create_owned(&label),
        }
    }
}
