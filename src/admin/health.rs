//! Health, readiness and metrics. They wait for nothing.

use super::Readiness;
use crate::telemetry::Metrics;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Problem;
use crate::web::RequestId;
use crate::web::own_headers;
use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Response;
use http::StatusCode;
use http::header::ALLOW;
use http::header::CONTENT_TYPE;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::Arc;

const PLAIN: &str = "text/plain; charset=utf-8";
/// `OpenMetrics` 1.0, the registered media type.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What service managers, balancers and scrapers ask for.
pub(super) struct Health {
    pub metrics: Arc<Metrics>,
    pub readiness: Arc<dyn Readiness>,
    /// Host names (canonical) that a request may name, against DNS rebinding; `localhost` and addresses always may.
    pub hosts: Vec<String>,
}

impl Health {
    /// The answer, where the request is for one of these, or names a host that is not ours.
    pub(super) fn answer(&self, exchange: &Exchange) -> Option<Answer> {
        let id = exchange.request_id;
        if !self.is_ours(&exchange.host) {
            let error = "This is not a host name of the admin listener; use its address or localhost";
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", error, id).into_answer(id));
        }
        let known = matches!(exchange.path.as_str(), "/healthz" | "/readyz" | "/metrics");
        if known && exchange.method != Method::GET && exchange.method != Method::HEAD {
            let problem = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "Only GET and HEAD are answered here",
                id,
            );
            let mut answer = problem.into_answer(id);
            answer
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(answer);
        }
        Some(match exchange.path.as_str() {
            "/healthz" => text(StatusCode::OK, PLAIN, "ok", id),
            "/readyz" => match self.readiness.ready() {
                Ok(()) => text(StatusCode::OK, PLAIN, "ok", id),
                Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reason, id),
            },
            "/metrics" => text(StatusCode::OK, METRICS, self.metrics.text(), id),
            _ => return None,
        })
    }

    /// Rebinding needs a name that somebody else controls: an address is none, and `localhost` is resolved by nobody else
    /// (RFC 6761, 6.3).
    fn is_ours(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        host == "localhost"
            || host.parse::<Ipv4Addr>().is_ok()
            || bare.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            || self.hosts.iter().any(|known| known == host)
    }
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>, id: RequestId) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    own_headers(&mut answer, id);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Scheme;
    use http::HeaderMap;
    use std::net::IpAddr;

    struct Ready(Result<(), &'static str>);

    impl Readiness for Ready {
        fn ready(&self) -> Result<(), &'static str> {
            self.0
        }
    }

    fn ask(ready: Result<(), &'static str>, method: Method, host: &str, path: &str) -> Option<Answer> {
        let health = Health {
            metrics: Arc::new(Metrics::new()),
            readiness: Arc::new(Ready(ready)),
            hosts: vec!["admin.example.com".to_owned()],
        };
        let exchange = Exchange {
            method,
            path: path.to_owned(),
            aliased: false,
            query: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            scheme: Scheme::Http,
            host: host.to_owned(),
            port: None,
            request_id: RequestId(1),
        };
        health.answer(&exchange)
    }

    #[test]
    fn health_says_that_the_process_lives_ready_or_not() {
        for ready in [Ok(()), Err("draining")] {
            let answer = ask(ready, Method::GET, "127.0.0.1", "/healthz").unwrap();
            assert_eq!(
                (answer.status(), answer.body().as_ref()),
                (StatusCode::OK, b"ok".as_ref())
            );
            assert_eq!(answer.headers()["cache-control"], "no-store");
        }
    }

    #[test]
    fn readiness_says_why_not() {
        let answer = ask(Ok(()), Method::HEAD, "localhost", "/readyz").unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let answer = ask(Err("draining"), Method::GET, "localhost", "/readyz").unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.body().as_ref(), b"draining");
    }

    #[test]
    fn metrics_are_open_metrics() {
        let answer = ask(Ok(()), Method::GET, "[::1]", "/metrics").unwrap();
        assert_eq!(answer.headers()[CONTENT_TYPE], METRICS);
        assert!(answer.body().ends_with(b"# EOF\n"));
    }

    #[test]
    fn only_get_and_head_are_answered_and_nothing_else_is_health() {
        assert!(ask(Ok(()), Method::GET, "localhost", "/healthz/").is_none());
        let answer = ask(Ok(()), Method::POST, "localhost", "/metrics").unwrap();
        assert_eq!(
            (answer.status(), &answer.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
        );
    }

    #[test]
    fn only_our_own_names_and_addresses_are_answered() {
        for host in ["localhost", "127.0.0.1", "10.1.2.3", "[::1]", "admin.example.com"] {
            assert_eq!(
                ask(Ok(()), Method::GET, host, "/metrics").unwrap().status(),
                StatusCode::OK,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "::1",
        ] {
            let answer = ask(Ok(()), Method::GET, host, "/metrics").unwrap();
            assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
        }
    }
}
