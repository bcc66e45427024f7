use super::part;
use super::part::PARTS;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::NoLabelSet;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Upper bounds in microseconds; the last bucket has none.
const BOUNDS: [u64; 13] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];

/// Ready handles for one route, for every core. Counting takes no lock and shares no cache line with another core (the
/// library's histogram locks).
#[derive(Clone, Debug)]
pub struct RouteMetrics(Arc<[Tally; PARTS]>);

#[derive(Default)]
#[repr(align(64))]
struct Tally {
    classes: [AtomicU64; CLASSES.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl fmt::Debug for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tally").finish_non_exhaustive()
    }
}

impl RouteMetrics {
    fn new() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Tally::default())))
    }

    /// Counts one answered request.
    pub fn answered(&self, status: u16, took: Duration) {
        let tally = &self.0[part::of_thread()];
        let class = usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        tally.classes[class].fetch_add(1, Relaxed);
        tally.buckets[bucket].fetch_add(1, Relaxed);
        tally.micros.fetch_add(micros, Relaxed);
    }

    fn sum(&self, of: impl Fn(&Tally) -> &AtomicU64) -> u64 {
        self.0.iter().map(|tally| of(tally).load(Relaxed)).sum()
    }
}

/// The metrics of all routes, by name.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<BTreeMap<String, RouteMetrics>>);

impl Routes {
    /// The handles of `name`, at zero from here on.
    pub(super) fn get(&self, name: &str) -> RouteMetrics {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.entry(name.to_owned()).or_insert_with(RouteMetrics::new).clone()
    }

    fn all(&self) -> BTreeMap<String, RouteMetrics> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let routes = self.all();
        let mut requests = encoder.encode_descriptor("requests", "Requests answered", None, MetricType::Counter)?;
        for (route, metrics) in &routes {
            for (index, class) in CLASSES.into_iter().enumerate() {
                let count = ConstCounter::new(metrics.sum(|tally| &tally.classes[index]));
                count.encode(requests.encode_family(&[("route", route.as_str()), ("class", class)])?)?;
            }
        }
        let help = "From head to the answer's last byte";
        let mut durations = encoder.encode_descriptor("request_duration_seconds", help, None, MetricType::Histogram)?;
        for (route, metrics) in &routes {
            let bound = |index: usize| BOUNDS.get(index).map_or(f64::MAX, |micros| seconds(*micros));
            let counts: Vec<(f64, u64)> = (0..=BOUNDS.len())
                .map(|index| (bound(index), metrics.sum(|tally| &tally.buckets[index])))
                .collect();
            let total = counts.iter().map(|(_, count)| count).sum();
            let sum = seconds(metrics.sum(|tally| &tally.micros));
            let labels = [("route", route.as_str())];
            let mut encoder = durations.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(sum, total, &counts, None)?;
        }
        Ok(())
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
