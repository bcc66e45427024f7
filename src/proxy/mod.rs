//! The way of one request: intake, route, gate, clean, identity, upstream, trip.
//!
//! It decides whether a request may pass, takes away what the client says of itself, and relays. It does not open or end
//! sessions, keeps no state of users, and speaks TLS to nobody. `app` joins it to [`crate::net`], one [`Core`] a core.
//!
//! What must always hold: `handle` answers, it never fails; one routing decision carries its rule, nothing looks at the
//! URL a second time; a request is cleaned before it is stamped, and only a stamped one can be sent. If its future is
//! dropped (the client went away), the application's connection is closed, nothing else is lost, and the trip is
//! written down all the same.

mod body;
mod clean;
mod core;
mod frames;
mod gate;
mod identity;
mod intake;
mod own;
mod path;
mod refusal;
mod route;
mod settings;
mod trip;
mod tunnel;
mod upstream;

pub use self::core::Core;
pub use self::core::Shared;
pub use self::core::Surroundings;
pub use body::Outgoing;
pub use refusal::Refusal;
pub use settings::{
    Access, Balance, Encoding, HostPattern, IdentitySettings, PathCase, PathPattern, Preset, RouteSettings,
    ServerAddress, Settings, UpstreamSettings,
};

use crate::web::Arrival;
use crate::web::Purpose;
use body::Inbound;
use gate::Pass;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::Version;
use http::header::CONTENT_TYPE;
use http::header::TRANSFER_ENCODING;
use hyper::body::Incoming;
use identity::Stamped;
use intake::Arrived;
use path::DecisionPath;
use route::Route;
use route::Target;
use std::rc::Rc;
use std::sync::Arc;
use trip::Trip;
use upstream::Answered;
use upstream::Sending;

/// Answers one request.
pub async fn handle(core: Rc<Core>, request: Request<Incoming>, arrival: Arrival) -> Response<Outgoing> {
    let mut trip = Box::new(core.begin(&request, &arrival));
    let peer = Rc::clone(&arrival.peer);
    let fallback = own::Refused::of(&request, &arrival);
    let outcome = match peer.listener.purpose {
        Purpose::Serve => journey(&core, request, arrival, &mut trip).await,
        Purpose::RedirectToHttps => own::redirect(&core, &request, arrival, &mut trip),
        Purpose::Admin => own::admin(&core, request, arrival, &mut trip).await,
    };
    let answer = outcome.unwrap_or_else(|refusal| core.refuse(refusal, &fallback, &mut trip));
    core::finish(answer, &peer, trip)
}

async fn journey(
    core: &Rc<Core>,
    request: Request<Incoming>,
    arrival: Arrival,
    trip: &mut Trip,
) -> Result<Response<Outgoing>, Refusal> {
    let shared = core.shared();
    let arrived = intake::take_in(request, arrival, &shared.settings, trip.request_id)?;
    trip.came_from(&arrived.client);
    let route = match find(core, &arrived)? {
        Target::Portal => return own::portal(core, arrived, trip).await,
        Target::Application(route) => route,
    };
    trip.goes_to(&route);
    let pass = gate::decide(&arrived, &route, core.sessions(), &shared.cookie.name).await?;
    trip.passes_as(&pass);
    let ends_in = match &pass {
        Pass::User(live) => Some(core.left_of(live)),
        Pass::Anonymous | Pass::Preflight => None,
    };
    let private = ends_in.is_some() && route.settings.cache_private;
    let cleaned = clean::clean(arrived, pass, &shared.firewall);
    let stamped = identity::stamp(cleaned, &route);
    forward(core, stamped, &route, Passage { ends_in, private }, trip).await
}

fn find(core: &Core, arrived: &Arrived) -> Result<Target, Refusal> {
    let raw = arrived.request.uri().path();
    let path = DecisionPath::parse(raw).map_err(|fault| match fault {
        path::PathFault::Malformed => Refusal::Malformed("path"),
        path::PathFault::Control => Refusal::Malformed("path_control"),
        path::PathFault::DotSegment => Refusal::Ambiguous("dot_segment"),
    })?;
    core.shared()
        .routes
        .find(&arrived.client.host, raw, &path, arrived.request.method())
}

/// What the way back must know of the way there.
struct Passage {
    /// How long the session goes on; `None` without one.
    ends_in: Option<std::time::Duration>,
    /// Whether the answer is somebody's own.
    private: bool,
}

async fn forward(
    core: &Rc<Core>,
    stamped: Stamped,
    route: &Arc<Route>,
    passage: Passage,
    trip: &mut Trip,
) -> Result<Response<Outgoing>, Refusal> {
    let shared = core.shared();
    let Stamped {
        mut request,
        client,
        hold,
        websocket,
    } = stamped;
    // Without an upstream only the portal answers here.
    let upstream = core.upstream(route).ok_or(Refusal::NoRoute)?;
    let on_client = websocket.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let (body, upload) = Inbound::new(
        body,
        shared.settings.body_bytes,
        shared.settings.body_idle,
        &shared.firewall,
    );
    let mut request = Request::from_parts(parts, body);
    *request.uri_mut() = origin_form(request.uri(), route)?;
    *request.version_mut() = Version::HTTP_11;
    request
        .headers_mut()
        .insert(http::header::HOST, core::host_value(&client)?);
    crate::web::strike(request.headers_mut(), TRANSFER_ENCODING);
    let sending = Sending {
        request,
        upload,
        preserve_host: route.settings.preserve_host,
    };
    let Answered { mut response, lease } = upstream.send(sending).await?;
    trip.answered_by(lease.server_name());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(on_client) = on_client.filter(|_| tunnel::agrees(response.headers())) else {
            return Err(Refusal::Upstream(crate::telemetry::UpstreamFailure::Invalid));
        };
        let application = hyper::upgrade::on(&mut response);
        tunnel::clean_switch(response.headers_mut(), &shared.firewall);
        let tunnel = tunnel::Tunnel {
            client: on_client,
            application,
            hold,
            session_ends_in: passage.ends_in,
            stop: shared.stop_streams.clone(),
            open: shared.upgrades.clone(),
            peer: Rc::clone(&client.peer),
        };
        tokio::task::spawn_local(tunnel.run());
        return Ok(response.map(|_| Outgoing::whole(bytes::Bytes::new())));
    }
    drop(hold);
    Ok(relay(core, response, lease, upstream.idle(), passage.private))
}

fn relay(
    core: &Core,
    response: Response<Incoming>,
    lease: upstream::Lease,
    idle: std::time::Duration,
    private: bool,
) -> Response<Outgoing> {
    let shared = core.shared();
    let (mut parts, body) = response.into_parts();
    shared.firewall.clean_response(&mut parts.headers);
    crate::web::strike(&mut parts.headers, TRANSFER_ENCODING);
    if private {
        own::keep_private(&mut parts.headers);
    }
    parts.version = Version::HTTP_11;
    let events = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    // A stream of events may be silent for as long as it likes; TCP keep-alive notices a server that is gone.
    let body = Outgoing::relay(body, (!events).then_some(idle), lease, Arc::clone(&shared.firewall));
    let body = if events {
        body.ending_with(shared.stop_streams.clone(), shared.events.clone())
    } else {
        body
    };
    Response::from_parts(parts, body)
}

/// The target for the application: the client's own bytes, unless the route cuts or adds a prefix.
fn origin_form(uri: &Uri, route: &Route) -> Result<Uri, Refusal> {
    const WRONG: Refusal = Refusal::Malformed("target");
    let target = uri.path_and_query().ok_or(WRONG)?;
    let rule = &route.settings;
    let mut parts = http::uri::Parts::default();
    if !rule.strip_prefix && rule.add_prefix.is_empty() {
        parts.path_and_query = Some(target.clone());
    } else {
        let prefix = match (&rule.path, rule.strip_prefix) {
            (PathPattern::Prefix(prefix), true) => prefix.trim_end_matches('/'),
            _ => "",
        };
        // The rule was chosen on the decoded path; a prefix that the client wrote in another way cannot be cut.
        let rest = target
            .as_str()
            .strip_prefix(prefix)
            .ok_or(Refusal::Ambiguous("encoded_prefix"))?;
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let text = format!("{}{slash}{rest}", rule.add_prefix.trim_end_matches('/'));
        parts.path_and_query = Some(text.parse().map_err(|_| WRONG)?);
    }
    Uri::from_parts(parts).map_err(|_| WRONG)
}
