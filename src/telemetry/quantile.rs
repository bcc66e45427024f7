use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// How long something takes, as a histogram knows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// How often it was measured.
    pub count: u64,
    /// Half took no longer than this, in seconds; `None` when nothing was measured. Told as exactly as the buckets are.
    pub median: Option<f64>,
    /// The same for 99 of 100.
    pub p99: Option<f64>,
}

impl Times {
    /// Reads a histogram.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let buckets = cumulative(histogram);
        let count = buckets.last().map_or(0, |(_, count)| *count);
        Self {
            count,
            median: quantile(&buckets, 0.5),
            p99: quantile(&buckets, 0.99),
        }
    }
}

/// Upper bounds with how many were no longer, the last one without bound. The library shows them in its text form only.
fn cumulative(histogram: &Histogram) -> Vec<(f64, u64)> {
    let mut registry = Registry::default();
    registry.register("t", "t", histogram.clone());
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
        return Vec::new();
    }
    let bucket = |line: &str| {
        let (bound, count) = line.strip_prefix("t_bucket{le=\"")?.split_once("\"} ")?;
        let bound = if bound == "+Inf" {
            f64::INFINITY
        } else {
            bound.parse().ok()?
        };
        Some((bound, count.trim().parse().ok()?))
    };
    text.lines().filter_map(bucket).collect()
}

/// As Prometheus' `histogram_quantile`: evenly spread within a bucket; beyond the last bound, that bound.
#[expect(
    clippy::cast_precision_loss,
    reason = "a quantile of 2^53 measurements may be off by one of them"
)]
fn quantile(buckets: &[(f64, u64)], share: f64) -> Option<f64> {
    let total = buckets.last().filter(|(_, count)| *count > 0)?.1;
    let rank = share * total as f64;
    let (mut low, mut below) = (0.0, 0);
    for (bound, count) in buckets {
        if *count as f64 >= rank {
            if bound.is_infinite() {
                return Some(low);
            }
            let inside = (*count - below).max(1) as f64;
            return Some(low + (bound - low) * (rank - below as f64) / inside);
        }
        (low, below) = (*bound, *count);
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::Times;
    use prometheus_client::metrics::histogram::Histogram;

    #[test]
    fn quantiles_lie_in_the_bucket_of_their_measurement() {
        let histogram = Histogram::new([0.001, 0.01, 0.1]);
        assert_eq!(
            Times::of(&histogram),
            Times {
                count: 0,
                median: None,
                p99: None
            }
        );
        for _ in 0..99 {
            histogram.observe(0.005);
        }
        histogram.observe(3.0);
        let times = Times::of(&histogram);
        assert_eq!(times.count, 100);
        let median = times.median.unwrap();
        assert!((0.001..0.01).contains(&median), "{median}");
        assert!(
            times.p99.is_some_and(|p99| (p99 - 0.01).abs() < 1e-9),
            "{:?}",
            times.p99
        );
        for _ in 0..9 {
            histogram.observe(3.0);
        }
        assert_eq!(
            Times::of(&histogram).p99,
            Some(0.1),
            "past the last bound nothing is known"
        );
    }
}
