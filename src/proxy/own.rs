//! Requests that the gateway answers itself: its pages, its health, the way to https.

use super::core::Core;
use super::intake;
use super::intake::Arrived;
use super::intake::Context;
use super::outgoing::Outgoing;
use super::refusal::Refusal;
use super::route::Route;
use super::trip::Trip;
use crate::web::Arrival;
use crate::web::Audience;
use crate::web::Desk;
use crate::web::Exchange;
use crate::web::Flow;
use crate::web::Scheme;
use crate::web::own_headers;
use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header::ACCEPT;
use http::header::CACHE_CONTROL;
use http::header::CONTENT_LENGTH;
use http::header::CONTENT_TYPE;
use http::header::LOCATION;
use http::header::ORIGIN;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes of a body to one of our own desks.
const MOST_BODY: usize = 64 * 1024;
/// Longest that reading it, and answering it, may take: a log-in waits in a queue for its turn.
const READING: Duration = Duration::from_secs(20);
const ANSWERING: Duration = Duration::from_mins(1);

/// What a refusal needs of a request, taken before the request is gone.
pub(super) struct Refused {
    audience: Audience,
    method: Method,
    http1: bool,
    host: String,
    https: bool,
    uri: Option<http::Uri>,
    origin: Option<HeaderValue>,
}

impl Refused {
    /// The `Origin` is kept only where pages of other origins may read refusals.
    pub(super) fn of(core: &Core, request: &Request<Incoming>, arrival: &Arrival) -> Self {
        let shares = !core.shared().around.portal_settings.return_origins.is_empty();
        let socket = arrival.hold.is_some() && intake::is_websocket(request);
        let person = arrival.fault.is_none() && !socket && intake::audience(request) == Audience::Person;
        let host = request
            .headers()
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok());
        let host = host
            .or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
            .unwrap_or_default();
        Self {
            audience: if person { Audience::Person } else { Audience::Script },
            method: request.method().clone(),
            http1: request.version() != Version::HTTP_2,
            host: host.to_owned(),
            https: arrival.peer.listener.scheme == Scheme::Https,
            uri: arrival.fault.is_none().then(|| request.uri().clone()),
            origin: shares.then(|| request.headers().get(ORIGIN).cloned()).flatten(),
        }
    }

    /// Whether the answer must have no body.
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(super) fn context<'a>(&'a self, trip: &'a Trip) -> Context<'a> {
        let target = self
            .uri
            .as_ref()
            .and_then(http::Uri::path_and_query)
            .map_or("/", http::uri::PathAndQuery::as_str);
        Context {
            audience: if trip.scripts_only {
                Audience::Script
            } else {
                self.audience
            },
            safe_method: matches!(self.method, Method::GET | Method::HEAD),
            http1: self.http1,
            host: self.host.split(':').next().unwrap_or_default(),
            https: self.https,
            target,
            origin: self.origin.as_ref(),
            request_id: trip.request_id,
            log_outs: trip.log_outs.as_deref().map_or(&[], Vec::as_slice),
        }
    }
}

/// What somebody who is signed in twice on this route can sign out of: ours first.
pub(super) fn log_outs(core: &Core, route: &Route, host: &str) -> Vec<(String, String)> {
    let (shared, accepted) = (core.shared(), &route.settings.sessions);
    let ours = || {
        (
            "Sign out here".to_owned(),
            format!("{}/logout", shared.settings.portal_prefix),
        )
    };
    let theirs = shared.around.sessions.log_outs(accepted, host);
    let theirs = theirs
        .into_iter()
        .map(|(source, path)| (format!("Sign out of {source}"), path));
    accepted.native.then(ours).into_iter().chain(theirs).collect()
}

/// Hands a whole request under the portal's prefix to its desk and waits for the answer. `alias` is the path that the
/// request's own stands for.
pub(super) async fn portal(
    core: &Core,
    arrived: Arrived,
    alias: Option<Arc<str>>,
) -> Result<Response<Outgoing>, Refusal> {
    let shared = core.shared();
    let path = alias.as_deref().unwrap_or(arrived.request.uri().path());
    let desk = match &shared.around.members {
        Some(members) if is_for_members(path, &shared.settings.portal_prefix) => members,
        _ => &shared.around.portal,
    };
    let desk = Arc::clone(desk);
    ask(core, desk, arrived, alias).await
}

/// Whether a refusal of a request to one of our desks is read by a program, as the desk itself would answer one: whoever
/// sends JSON is one, and so is whoever comes by an alias and does not name HTML.
pub(super) fn is_of_script(request: &Request<Incoming>, aliased: bool) -> bool {
    let names = |header: HeaderName, kind: &[u8]| {
        let lines = request.headers().get_all(header);
        lines.iter().any(|line| {
            let mut words = line.as_bytes().split(|byte| matches!(byte, b',' | b';'));
            words.any(|word| word.trim_ascii().eq_ignore_ascii_case(kind))
        })
    };
    names(CONTENT_TYPE, b"application/json") || aliased && !names(ACCEPT, b"text/html")
}

/// Whether a path under the portal's prefix is the administrators'.
fn is_for_members(path: &str, prefix: &str) -> bool {
    let below = path.strip_prefix(prefix).and_then(|path| path.strip_prefix("/admin"));
    below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Takes in a request to the admin listener.
pub(super) fn arrive_at_admin(
    core: &Core,
    request: Request<Incoming>,
    arrival: Arrival,
    trip: &mut Trip,
) -> Result<Arrived, Refusal> {
    trip.metrics = core.admin_metrics();
    // What lies there is JSON, whoever asks; pages lie elsewhere.
    let path = request.uri().path();
    trip.scripts_only = path
        .strip_prefix("/api")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let arrived = intake::take_in(request, arrival, &core.shared().settings, trip.request_id)?;
    trip.came_from(&arrived.client);
    Ok(arrived)
}

/// Health, metrics and the operators' side.
pub(super) async fn admin(core: &Core, arrived: Arrived) -> Result<Response<Outgoing>, Refusal> {
    ask(core, Arc::clone(&core.shared().around.admin), arrived, None).await
}

async fn ask(
    core: &Core,
    desk: Arc<dyn Desk>,
    arrived: Arrived,
    alias: Option<Arc<str>>,
) -> Result<Response<Outgoing>, Refusal> {
    let Arrived { request, client, .. } = arrived;
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(READING, Limited::new(body, MOST_BODY).collect()).await {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(Refusal::BodyTooLarge),
        Ok(Err(_)) => return Err(Refusal::Malformed("body")),
        Err(_) => return Err(Refusal::BodyTimeout),
    };
    let exchange = Exchange {
        method: parts.method,
        path: alias.as_deref().unwrap_or(parts.uri.path()).to_owned(),
        aliased: alias.is_some(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
        address: client.address,
        scheme: client.scheme,
        host: client.host,
        port: client.port,
        request_id: client.request_id,
    };
    let head = exchange.method == Method::HEAD;
    // On the control runtime: a browser that goes away does not cancel a log-in half-way.
    let task = core
        .shared()
        .around
        .control
        .spawn(async move { desk.answer(exchange).await });
    let Ok(Ok(mut answer)) = tokio::time::timeout(ANSWERING, task).await else {
        return Err(Refusal::Internal);
    };
    if let Some(flow) = Flow::detach(&mut answer) {
        let stop = core.shared().stop_streams.clone();
        return Ok(answer.map(|_| Outgoing::flow(flow, stop)));
    }
    Ok(answer.map(|body| Outgoing::whole(if head { Bytes::new() } else { body })))
}

/// The same address over https, for hosts that are served and methods that lose nothing on the way.
pub(super) fn redirect(
    core: &Core,
    request: &Request<Incoming>,
    arrival: Arrival,
    trip: &mut Trip,
) -> Result<Response<Outgoing>, Refusal> {
    let shared = core.shared();
    if let Some(fault) = arrival.fault {
        return Err(Refusal::Head(fault));
    }
    let client = intake::client_of(request, arrival.peer, &shared.settings, trip.request_id)?;
    trip.came_from(&client);
    if !shared.routes.knows(&client.host) {
        return Err(Refusal::UnknownHost);
    }
    let port = shared
        .around
        .https_port
        .filter(|_| matches!(*request.method(), Method::GET | Method::HEAD));
    let Some(port) = port else {
        return Err(Refusal::PlainHttp);
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    if !target.starts_with('/') {
        return Err(Refusal::Malformed("target"));
    }
    let location = match port {
        443 => format!("https://{}{target}", client.host),
        port => format!("https://{}:{port}{target}", client.host),
    };
    let mut answer = Response::new(Outgoing::whole(Bytes::new()));
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(
        LOCATION,
        HeaderValue::try_from(location).map_err(|_| Refusal::Malformed("target"))?,
    );
    own_headers(&mut answer, trip.request_id);
    Ok(answer)
}

/// An answer that says nothing of its own privacy is the user's own: no cache in between may give it to another. How long it
/// is fresh (`max-age`, `Expires`) says nothing of whom it is for (RFC 9111, 3), and neither does `no-store` beside
/// `must-understand`, which caches that understand the status pass over (5.2.2.3).
pub(super) fn keep_private(headers: &mut HeaderMap) {
    let (mut is_said, mut is_kept_nowhere, mut is_understood) = (false, false, false);
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in line.as_bytes().split(|byte| *byte == b',') {
            let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
            let is = |word: &[u8]| name.trim_ascii().eq_ignore_ascii_case(word);
            is_said |= is(b"private") || is(b"public") || is(b"s-maxage");
            is_kept_nowhere |= is(b"no-store");
            is_understood |= is(b"must-understand");
        }
    }
    if !is_said && (is_understood || !is_kept_nowhere) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

/// The same answer to a HEAD: its length, no body. hyper leaves the body out on HTTP/1 only.
pub(super) fn without_body(answer: Response<Outgoing>) -> Response<Outgoing> {
    let length = http_body::Body::size_hint(answer.body()).exact();
    let mut answer = answer.map(|_| Outgoing::whole(Bytes::new()));
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::{CACHE_CONTROL, HeaderMap, keep_private};

    #[test]
    fn an_answer_is_made_private_unless_it_says_whom_it_is_for() {
        let lines = |control: &str| {
            let mut headers = HeaderMap::new();
            if !control.is_empty() {
                headers.insert(CACHE_CONTROL, control.parse().unwrap());
            }
            keep_private(&mut headers);
            headers.get_all(CACHE_CONTROL).iter().any(|line| line == "private")
        };
        for silent in [
            "",
            "max-age=60",
            "no-cache",
            "max-age=60, must-understand, no-store",
            "No-Store , Must-Understand",
        ] {
            assert!(lines(silent), "{silent}");
        }
        for said in [
            "no-store",
            "PUBLIC, max-age=60",
            "s-maxage=9",
            "private=\"x\"",
            "private, max-age=1",
            "must-understand, no-store, public",
        ] {
            assert!(!lines(said), "{said}");
        }
    }
}
