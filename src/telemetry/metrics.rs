use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteClass {
    route: String,
    class: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceResult {
    source: &'static str,
    result: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookupResult {
    result: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Level {
    level: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
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
struct Certificate {
    listener: String,
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

/// Ready handles for one route.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    classes: [Counter; 5],
    duration: Histogram,
}

impl RouteMetrics {
    /// Counts one answered request.
    pub fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[class].inc();
        self.duration.observe(took.as_secs_f64());
    }
}

/// Every metric of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RouteClass, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    refusals: Family<Reason, Counter>,
    lookups: Family<SourceResult, Counter>,
    cache_hits: Family<Level, Counter>,
    upstream_failures: Family<UpstreamKind, Counter>,
    streams: Family<Kind, Gauge>,
    sessions: Family<State, Gauge>,
    connections: Family<ListenerLabel, Gauge>,
    logins: Family<LookupResult, Counter>,
    certificates: Family<Certificate, Gauge>,
    /// How long look-ups in the store take.
    pub lookup_duration: Histogram,
    /// Entries of the shared cache.
    pub cache_entries: Gauge,
    /// 1 while changes by other processes are seen, so that cached sessions may be believed for longer.
    pub feed_healthy: Gauge,
}

fn request_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 12))
}

impl Metrics {
    /// All metrics with closed label sets at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let requests = Family::default();
        let durations: Family<Route, Histogram, fn() -> Histogram> = Family::new_with_constructor(request_histogram);
        let refusals = Family::default();
        let lookups: Family<SourceResult, Counter> = Family::default();
        let cache_hits: Family<Level, Counter> = Family::default();
        let upstream_failures = Family::default();
        let streams: Family<Kind, Gauge> = Family::default();
        let sessions: Family<State, Gauge> = Family::default();
        let connections = Family::default();
        let logins: Family<LookupResult, Counter> = Family::default();
        let certificates = Family::default();
        let lookup_duration = Histogram::new(exponential_buckets(0.000_1, 2.5, 12));
        let cache_entries = Gauge::default();
        let feed_healthy = Gauge::default();
        registry.register("requests", "Requests answered", requests.clone());
        registry.register(
            "request_duration_seconds",
            "From head to the answer's last byte",
            durations.clone(),
        );
        registry.register("refusals", "Requests refused by the gateway", refusals.clone());
        registry.register("session_lookups", "Session look-ups in the store", lookups.clone());
        registry.register(
            "session_lookup_duration_seconds",
            "Time of a look-up in the store",
            lookup_duration.clone(),
        );
        registry.register("cache_hits", "Look-ups answered by a cache", cache_hits.clone());
        registry.register("cache_entries", "Sessions in the shared cache", cache_entries.clone());
        registry.register(
            "feed_healthy",
            "Whether changes by other processes are seen",
            feed_healthy.clone(),
        );
        registry.register(
            "upstream_failures",
            "Requests that an upstream failed",
            upstream_failures.clone(),
        );
        registry.register("streams_open", "Tunnels and event streams open", streams.clone());
        registry.register("sessions", "Sessions in the store", sessions.clone());
        registry.register("connections", "Connections open", connections.clone());
        registry.register("logins", "Log-ins by result", logins.clone());
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When a listener's certificate ends",
            certificates.clone(),
        );
        let build: Family<Build, Gauge> = Family::default();
        build
            .get_or_create(&Build {
                version: env!("CARGO_PKG_VERSION"),
            })
            .set(1);
        registry.register("build_info", "Version", build);
        let metrics = Self {
            registry,
            requests,
            durations,
            refusals,
            lookups,
            cache_hits,
            upstream_failures,
            streams,
            sessions,
            connections,
            logins,
            certificates,
            lookup_duration,
            cache_entries,
            feed_healthy,
        };
        for result in ["found", "absent", "unavailable"] {
            drop(metrics.lookup(result));
        }
        for level in ["first", "shared"] {
            drop(metrics.cache_hit(level));
        }
        for result in ["succeeded", "failed", "busy", "unavailable"] {
            drop(metrics.login(result));
        }
        for kind in ["upgrade", "events"] {
            drop(metrics.stream(kind));
        }
        metrics
    }

    /// Handles of the route `name`.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteMetrics {
        let class = |class| {
            self.requests.get_or_create_owned(&RouteClass {
                route: name.to_owned(),
                class,
            })
        };
        RouteMetrics {
            classes: [class("1xx"), class("2xx"), class("3xx"), class("4xx"), class("5xx")],
            duration: self.durations.get_or_create_owned(&Route { route: name.to_owned() }),
        }
    }

    /// Refusals for `reason`, a word of a closed list.
    #[must_use]
    pub fn refusal(&self, reason: &'static str) -> Counter {
        self.refusals.get_or_create_owned(&Reason { reason })
    }

    /// Look-ups with `result`: found, absent, unavailable.
    #[must_use]
    pub fn lookup(&self, result: &'static str) -> Counter {
        self.lookups.get_or_create_owned(&SourceResult {
            source: "native",
            result,
        })
    }

    /// Hits of the cache `level`: first, shared.
    #[must_use]
    pub fn cache_hit(&self, level: &'static str) -> Counter {
        self.cache_hits.get_or_create_owned(&Level { level })
    }

    /// Failures of an upstream, all kinds at zero from here on.
    #[must_use = "the failures are counted by calling it"]
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

    /// Open streams of a kind: upgrade, events.
    #[must_use]
    pub fn stream(&self, kind: &'static str) -> Gauge {
        self.streams.get_or_create_owned(&Kind { kind })
    }

    /// Sessions in a state: active.
    #[must_use]
    pub fn sessions(&self, state: &'static str) -> Gauge {
        self.sessions.get_or_create_owned(&State { state })
    }

    /// Open connections of a listener.
    #[must_use]
    pub fn connections(&self, listener: &str) -> Gauge {
        self.connections.get_or_create_owned(&ListenerLabel {
            listener: listener.to_owned(),
        })
    }

    /// Log-ins with `result`: succeeded, failed, busy, unavailable.
    #[must_use]
    pub fn login(&self, result: &'static str) -> Counter {
        self.logins.get_or_create_owned(&LookupResult { result })
    }

    /// When the first certificate of a listener ends, in seconds since 1970.
    #[must_use]
    pub fn certificate_expiry(&self, listener: &str) -> Gauge {
        self.certificates.get_or_create_owned(&Certificate {
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
