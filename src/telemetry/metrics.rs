use super::feed::FeedGauges;
use super::feed::SourceFeeds;
use super::quantile::Times;
use super::route::RouteMetrics;
use super::route::Routes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Metric;
use prometheus_client::registry::Registry;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceResult {
    source: String,
    result: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceFault {
    source: String,
    fault: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceName {
    source: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginResult {
    result: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TouchResult {
    result: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Level {
    level: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamKind {
    upstream: String,
    kind: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// How an upstream failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// An answer that is no HTTP, or cut off.
    Invalid,
}

impl UpstreamFailure {
    const ALL: [Self; 3] = [Self::Connect, Self::Timeout, Self::Invalid];

    const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Invalid => "invalid",
        }
    }
}

/// Every metric of this process.
#[derive(Debug)]
pub struct Metrics {
    routes: Arc<Routes>,
    refusals: Family<Reason, Counter>,
    lookups: Family<SourceResult, Counter>,
    source_faults: Family<SourceFault, Counter>,
    rows_returned: Family<SourceName, Counter>,
    cache_hits: Family<Level, Counter>,
    upstream_failures: Family<UpstreamKind, Counter>,
    streams: Family<Kind, Gauge>,
    sessions: Family<State, Gauge>,
    instances: Family<State, Gauge>,
    connections: Family<Listener, Gauge>,
    logins: Family<LoginResult, Counter>,
    touches: Family<TouchResult, Counter>,
    certificates: Family<Listener, Gauge>,
    source_feeds: SourceFeeds,
    /// How long look-ups in the store take.
    pub lookup_duration: Histogram,
    /// Look-ups of sessions that wait for the store.
    pub lookups_waiting: Gauge,
    /// Look-ups answered by what was known before the store could not be asked, within a route's grace.
    pub stale_answers: Counter,
    /// Sessions whose last activity waits to be written.
    pub touches_waiting: Gauge,
    /// Entries of the shared cache.
    pub cache_entries: Gauge,
    /// How well changes by other processes are seen.
    pub feed: FeedGauges,
    /// 1 when the configuration that was read last took effect, 0 when it was refused and the one before runs on.
    pub config_reload_success: Gauge,
    /// Expired sessions that this process removed.
    pub swept_sessions: Counter,
    /// Access lines that could not be written.
    pub access_lines_lost: Counter,
    registry: Registry,
}

impl Metrics {
    /// All metrics with closed label sets at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let all = &mut registry;
        let routes = Arc::new(Routes::default());
        all.register_collector(Box::new(Arc::clone(&routes)));
        add::<Family<Build, Gauge>>(all, "build_info", "Version")
            .get_or_create(&Build {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        let lookup_duration = Histogram::new(exponential_buckets(0.000_1, 2.5, 12));
        let about = "Time of a look-up in the store";
        all.register("session_lookup_duration_seconds", about, lookup_duration.clone());
        let metrics = Self {
            routes,
            refusals: add(all, "refusals", "Requests refused by the gateway"),
            lookups: add(all, "session_lookups", "Session look-ups in the store"),
            source_faults: add(all, "source_faults", "What of applications' rows cannot be taken"),
            rows_returned: add(all, "source_rows_returned", "Rows of ended sessions that came back"),
            cache_hits: add(all, "cache_hits", "Look-ups answered by a cache"),
            upstream_failures: add(all, "upstream_failures", "Requests that an upstream failed"),
            streams: add(all, "streams_open", "Tunnels, event streams and long answers open"),
            sessions: add(all, "sessions", "Sessions in the store"),
            instances: add(all, "instances", "Live instances that understand our cookies, and not"),
            connections: add(all, "connections", "Connections open"),
            logins: add(all, "logins", "Log-ins by result"),
            touches: add(all, "touches", "Recorded activity of sessions by result"),
            certificates: add(
                all,
                "certificate_expiry_timestamp_seconds",
                "When a listener's certificate ends",
            ),
            lookup_duration,
            lookups_waiting: add(
                all,
                "session_lookups_waiting",
                "Session look-ups that wait for the store",
            ),
            stale_answers: add(all, "stale_answers", "Look-ups answered within a route's outage grace"),
            touches_waiting: add(
                all,
                "touches_waiting",
                "Sessions whose last activity waits to be written",
            ),
            cache_entries: add(all, "cache_entries", "Sessions in the shared cache"),
            feed: FeedGauges::registered(all),
            source_feeds: SourceFeeds::registered(all),
            config_reload_success: add(
                all,
                "config_reload_success",
                "Whether the configuration that was read last took effect",
            ),
            swept_sessions: add(all, "swept_sessions", "Expired sessions removed"),
            access_lines_lost: add(all, "access_lines_lost", "Access lines that could not be written"),
            registry,
        };
        metrics.start_at_zero();
        metrics
    }

    fn start_at_zero(&self) {
        for result in ["found", "absent", "unavailable"] {
            drop(self.lookup(result));
        }
        for level in ["first", "shared"] {
            drop(self.cache_hit(level));
        }
        for result in [
            "succeeded",
            "failed",
            "throttled",
            "too_many_sessions",
            "busy",
            "unavailable",
        ] {
            drop(self.login(result));
        }
        for result in ["written", "skipped", "ended", "lost"] {
            drop(self.touch(result));
        }
        for kind in ["upgrade", "events", "body", "portal"] {
            drop(self.stream(kind));
        }
        drop(self.sessions("active"));
        // What runs was read.
        self.config_reload_success.set(1);
        for state in ["agreeing", "disagreeing"] {
            drop(self.instances(state));
        }
    }

    /// Handles of the route `name`.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteMetrics {
        self.routes.get(name)
    }

    /// Refusals for `reason`, a word of a closed list.
    #[must_use]
    pub fn refusal(&self, reason: &'static str) -> Counter {
        self.refusals.get_or_create_owned(&Reason { reason })
    }

    /// Look-ups with `result`: found, absent, unavailable.
    #[must_use]
    pub fn lookup(&self, result: &'static str) -> Counter {
        self.lookup_of("native", result)
    }

    /// The same of a source, by its name.
    #[must_use]
    pub fn lookup_of(&self, source: &str, result: &'static str) -> Counter {
        self.lookups.get_or_create_owned(&SourceResult {
            source: source.to_owned(),
            result,
        })
    }

    /// Of a source, by its name.
    #[must_use]
    pub fn feed_of(&self, source: &str) -> FeedGauges {
        self.source_feeds.of(source)
    }

    /// What a source's rows said that could not be taken: `row` or `group`.
    #[must_use]
    pub fn source_fault(&self, source: &str, fault: &'static str) -> Counter {
        self.source_faults.get_or_create_owned(&SourceFault {
            source: source.to_owned(),
            fault,
        })
    }

    /// Rows of ended sessions that the application of this source brought back, and that were deleted again.
    #[must_use]
    pub fn rows_returned(&self, source: &str) -> Counter {
        self.rows_returned.get_or_create_owned(&SourceName {
            source: source.to_owned(),
        })
    }

    /// How long look-ups in the store took so far.
    #[must_use]
    pub fn lookup_times(&self) -> Times {
        Times::of(&self.lookup_duration)
    }

    /// Hits of the cache `level`: first, shared.
    #[must_use]
    pub fn cache_hit(&self, level: &'static str) -> Counter {
        self.cache_hits.get_or_create_owned(&Level { level })
    }

    /// Failures of an upstream, all kinds at zero from here on.
    pub fn upstream(&self, name: &str) -> impl Fn(UpstreamFailure) + Clone + 'static {
        let handles = UpstreamFailure::ALL.map(|kind| {
            self.upstream_failures.get_or_create_owned(&UpstreamKind {
                upstream: name.to_owned(),
                kind: kind.word(),
            })
        });
        move |kind| {
            handles[kind as usize].inc();
        }
    }

    /// Open streams of a kind: upgrade, events, body (an answer that takes long), portal (our own events).
    #[must_use]
    pub fn stream(&self, kind: &'static str) -> Gauge {
        self.streams.get_or_create_owned(&Kind { kind })
    }

    /// Sessions in a state: active.
    #[must_use]
    pub fn sessions(&self, state: &'static str) -> Gauge {
        self.sessions.get_or_create_owned(&State { state })
    }

    /// Live instances on the same store: agreeing (this one among them), disagreeing (one of the two cannot verify what the
    /// other signs). Both 0 where there is one gateway only.
    #[must_use]
    pub fn instances(&self, state: &'static str) -> Gauge {
        self.instances.get_or_create_owned(&State { state })
    }

    /// Open connections of a listener.
    #[must_use]
    pub fn connections(&self, listener: &str) -> Gauge {
        self.connections.get_or_create_owned(&Listener {
            listener: listener.to_owned(),
        })
    }

    /// Log-ins with `result`: succeeded, failed, throttled, `too_many_sessions`, busy, unavailable.
    #[must_use]
    pub fn login(&self, result: &'static str) -> Counter {
        self.logins.get_or_create_owned(&LoginResult { result })
    }

    /// Touches with `result`: written, skipped (activity as late was recorded already), ended (the session was over by
    /// then), lost (no room to wait, or given up).
    #[must_use]
    pub fn touch(&self, result: &'static str) -> Counter {
        self.touches.get_or_create_owned(&TouchResult { result })
    }

    /// When the first certificate of a listener ends, in seconds since 1970.
    #[must_use]
    pub fn certificate_expiry(&self, listener: &str) -> Gauge {
        self.certificates.get_or_create_owned(&Listener {
            listener: listener.to_owned(),
        })
    }

    /// The text that `/metrics` answers (`OpenMetrics` 1.0).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; an encoder that does loses this one scrape.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn add<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_names_are_those_that_dashboards_rely_on() {
        let metrics = Metrics::new();
        drop(metrics.refusal("no_session"));
        metrics.upstream("crm")(UpstreamFailure::Connect);
        drop((
            metrics.route("crm"),
            metrics.connections("a"),
            metrics.certificate_expiry("a"),
        ));
        let text = metrics.text();
        for line in [
            r#"portcullis_requests_total{route="crm",class="2xx"} 0"#,
            r#"portcullis_request_duration_seconds_count{route="crm"} 0"#,
            r#"portcullis_refusals_total{reason="no_session"} 0"#,
            r#"portcullis_session_lookups_total{source="native",result="absent"} 0"#,
            "portcullis_session_lookup_duration_seconds_count 0",
            r#"portcullis_cache_hits_total{level="first"} 0"#,
            "portcullis_cache_entries 0",
            "portcullis_feed_healthy 0",
            r#"portcullis_sessions{state="active"} 0"#,
            r#"portcullis_instances{state="disagreeing"} 0"#,
            r#"portcullis_connections{listener="a"} 0"#,
            r#"portcullis_upstream_failures_total{upstream="crm",kind="connect"} 1"#,
            r#"portcullis_upstream_failures_total{upstream="crm",kind="timeout"} 0"#,
            r#"portcullis_streams_open{kind="upgrade"} 0"#,
            r#"portcullis_logins_total{result="failed"} 0"#,
            r#"portcullis_touches_total{result="written"} 0"#,
            "portcullis_config_reload_success 1",
            "portcullis_session_lookups_waiting 0",
            "portcullis_stale_answers_total 0",
            "portcullis_touches_waiting 0",
            "portcullis_swept_sessions_total 0",
            r#"portcullis_certificate_expiry_timestamp_seconds{listener="a"} 0"#,
            r#"portcullis_build_info{version=""#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn requests_are_counted_by_class_and_time_from_every_thread() {
        let metrics = Metrics::new();
        let route = metrics.route("crm");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for status in [200, 204, 404, 999] {
                        route.answered(status, Duration::from_millis(2));
                    }
                    metrics.route("crm").answered(101, Duration::from_mins(1));
                });
            }
        });
        let text = metrics.text();
        for line in [
            r#"portcullis_requests_total{route="crm",class="1xx"} 4"#,
            r#"portcullis_requests_total{route="crm",class="2xx"} 8"#,
            r#"portcullis_requests_total{route="crm",class="4xx"} 4"#,
            r#"portcullis_requests_total{route="crm",class="5xx"} 4"#,
            r#"portcullis_request_duration_seconds_count{route="crm"} 20"#,
            r#"portcullis_request_duration_seconds_bucket{le="0.001",route="crm"} 0"#,
            r#"portcullis_request_duration_seconds_bucket{le="0.0025",route="crm"} 16"#,
            r#"portcullis_request_duration_seconds_bucket{le="10.0",route="crm"} 16"#,
            r#"portcullis_request_duration_seconds_bucket{le="+Inf",route="crm"} 20"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
