//! The way of one request: intake, route, gate, clean, identity, upstream, trip.
//!
//! It decides whether a request may pass, takes away what the client says of itself, and relays. It does not open or end
//! sessions, keeps no state of users, and speaks TLS to nobody. `app` joins it to [`crate::net`], one [`Core`] a core.
//!
//! What must always hold: `handle` answers, it never fails; one routing decision carries its rule, nothing looks at the
//! URL a second time; a request is cleaned before it is stamped, and only a stamped one can be sent. If its future is
//! dropped (the client went away), the application's connection is closed, nothing else is lost, and the trip is
//! written down all the same.

mod alias;
mod body;
mod clean;
mod core;
mod ending;
mod events;
mod frames;
mod framing;
mod gate;
mod identity;
mod intake;
mod late;
mod names;
mod outgoing;
mod own;
mod owner;
mod path;
mod refusal;
mod renewal;
mod route;
mod settings;
mod spelling;
mod trip;
mod tunnel;
mod upload;
mod upstream;

pub use self::core::Core;
pub use self::core::Shared;
pub use self::core::Surroundings;
pub use names::IDENTITY as IDENTITY_HEADERS;
pub use outgoing::Outgoing;
pub use refusal::Refusal;
pub use settings::{
    Access, AliasSettings, Balance, Encoding, HostPattern, IdentitySettings, PathCase, PathPattern, Preset,
    RouteSettings, ServerAddress, Settings, UpstreamSettings,
};

use crate::session::Entry;
use crate::telemetry::UpstreamFailure;
use crate::web::Arrival;
use crate::web::Peer;
use crate::web::Purpose;
use crate::web::UpgradeHold;
use crate::web::set_cookie_pairs;

use body::Inbound;
use bytes::Bytes;
use ending::Bond;
use ending::Ending;
use ending::Short;
use gate::Pass;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::Version;
use http::header::CONTENT_TYPE;
use http::header::TRANSFER_ENCODING;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use identity::Stamped;
use intake::Arrived;
use owner::Owner;
use path::DecisionPath;
use renewal::Owed;
use route::Route;
use route::Target;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use trip::Trip;
use tunnel::Tunnel;
use upstream::Answered;
use upstream::Sending;

/// Answers one request. All that is done without waiting is done before this returns, so that the future is small: hyper
/// and the runtime move it several times.
pub fn handle(
    core: Rc<Core>,
    request: Request<Incoming>,
    arrival: Arrival,
) -> impl Future<Output = Response<Outgoing>> {
    let mut trip = Box::new(core.begin(&request, &arrival));
    let peer = Rc::clone(&arrival.peer);
    let fallback = Box::new(own::Refused::of(&core, &request, &arrival));
    let next = match peer.listener.purpose {
        Purpose::Serve => arrive(&core, request, arrival, &mut trip),
        Purpose::RedirectToHttps => own::redirect(&core, &request, arrival, &mut trip)
            .map(Box::new)
            .map(Next::Done),
        Purpose::Admin => own::arrive_at_admin(&core, request, arrival, &mut trip)
            .map(Box::new)
            .map(Next::Admin),
    };
    async move {
        let outcome = match next {
            Ok(next) => journey(&core, next, &mut trip).await,
            Err(refusal) => Err(refusal),
        };
        let answer = outcome.unwrap_or_else(|refusal| core.refuse(refusal, &fallback, &mut trip));
        core::finish(answer, &peer, trip)
    }
}

async fn journey(core: &Rc<Core>, next: Next, trip: &mut Trip) -> Result<Response<Outgoing>, Refusal> {
    let Departure { sending, back, route } = match next {
        Next::Go(departure) => *departure,
        Next::Ask(arrived, route) => Box::pin(look_up(core, *arrived, route, trip)).await?,
        Next::Portal(arrived, alias) => return Box::pin(own::portal(core, *arrived, alias)).await,
        Next::Admin(arrived) => return Box::pin(own::admin(core, *arrived)).await,
        Next::Done(answer) => return Ok(*answer),
    };
    // Without an upstream only the portal answers here.
    let upstream = core.upstream(&route).ok_or(Refusal::NoRoute)?;
    let answered = upstream.send(sending).await?;
    trip.answered_by(answered.lease.server_name());
    let idle = upstream.idle();
    let mut answered = answered;
    if let Some(entry) = back.asks_for_end(core, &answered.response) {
        Box::pin(late::drop_session_of_ended(core, entry, &mut answered.response)).await;
    }
    back.relay(core, route, answered, idle)
}

/// What a request that arrived needs next.
enum Next {
    /// An answer of the portal's; the path that it stands for, where it came by an alias.
    Portal(Box<Arrived>, Option<Arc<str>>),
    /// The store must be asked whose it is.
    Ask(Box<Arrived>, Arc<Route>),
    /// It may pass.
    Go(Box<Departure>),
    /// An answer of the admin desk's.
    Admin(Box<Arrived>),
    /// Nothing more.
    Done(Box<Response<Outgoing>>),
}

/// Most sessions are at hand and are decided on here; only a look-up waits, and keeps its state in a box of its own.
fn arrive(core: &Core, request: Request<Incoming>, arrival: Arrival, trip: &mut Trip) -> Result<Next, Refusal> {
    let shared = core.shared();
    let mut arrived = intake::take_in(request, arrival, &shared.settings, trip.request_id)?;
    trip.came_from(&arrived.client);
    let route = match find(core, &arrived)? {
        Target::Portal(alias) => {
            trip.metrics = core.portal_metrics();
            trip.scripts_only = own::is_of_script(&arrived.request, alias.is_some());
            return Ok(Next::Portal(Box::new(arrived), alias));
        }
        Target::Application(route) => route,
    };
    trip.goes_to(&route);
    // No person sees what a WebSocket is answered, whatever its `Accept` says.
    trip.scripts_only |= arrived.websocket;
    if shared.firewall.is_worker_over_portal(&arrived.request) {
        return Err(Refusal::Forbidden("service_worker"));
    }
    match gate::decide_now(&mut arrived, &route, core.sessions(), &shared.cookie.name) {
        Some(decision) => depart(core, arrived, decision?, route, trip)
            .map(Box::new)
            .map(Next::Go),
        None => Ok(Next::Ask(Box::new(arrived), route)),
    }
}

async fn look_up(core: &Core, mut arrived: Arrived, route: Arc<Route>, trip: &mut Trip) -> Result<Departure, Refusal> {
    let pass = gate::decide(&mut arrived, &route, core.sessions(), &core.shared().cookie.name).await;
    if matches!(pass, Err(Refusal::SignedInTwice)) {
        trip.log_outs = Some(Box::new(own::log_outs(core, &route, &arrived.client.host)));
    }
    let pass = pass?;
    depart(core, arrived, pass, route, trip)
}

fn find(core: &Core, arrived: &Arrived) -> Result<Target, Refusal> {
    let raw = arrived.request.uri().path();
    let path = DecisionPath::parse(raw).map_err(route::refusal_of)?;
    core.shared()
        .routes
        .find(&arrived.client.host, raw, &path, arrived.request.method())
}

/// Cleans and stamps a request, and gives it the form that goes over the wire.
fn depart(core: &Core, arrived: Arrived, pass: Pass, route: Arc<Route>, trip: &mut Trip) -> Result<Departure, Refusal> {
    let shared = core.shared();
    trip.passes_as(&pass);
    let cookie = match &pass {
        Pass::User(live) => core.note_activity(live, &arrived),
        Pass::Anonymous | Pass::Preflight => None,
    };
    let cleaned = clean::clean(arrived, pass, &shared.firewall);
    let stamped = identity::stamp(cleaned, &route);
    let Stamped {
        mut request,
        client,
        hold,
        websocket,
        entry,
    } = stamped;
    let on_client = websocket.then(|| hyper::upgrade::on(&mut request));
    let logs_out = entry
        .as_ref()
        .is_some_and(|entry| shared.around.sessions.is_log_out(entry, request.uri().path()));
    let sessions = &shared.around.sessions;
    let held = sessions.held_cookies(entry.as_deref(), &client.host, request.uri().path());
    let (parts, body) = request.into_parts();
    let limits = &shared.settings;
    let (body, upload) = Inbound::new(body, limits.body_bytes, limits.body_idle, &shared.firewall);
    let mut request = Request::from_parts(parts, body);
    *request.uri_mut() = origin_form(request.uri(), &route)?;
    *request.version_mut() = Version::HTTP_11;
    request
        .headers_mut()
        .insert(http::header::HOST, core::host_value(&client)?);
    framing::write_anew(request.headers_mut(), upload.is_some());
    let private = entry.is_some() && route.settings.cache_private;
    let sending = Sending {
        request,
        upload,
        preserve_host: route.settings.preserve_host,
    };
    let back = WayBack {
        on_client,
        hold,
        peer: client.peer,
        address: client.address,
        entry,
        private,
        cookie,
        logs_out,
        held,
    };
    Ok(Departure { sending, back, route })
}

/// A request on its way out.
struct Departure {
    sending: Sending,
    back: WayBack,
    route: Arc<Route>,
}

/// What the way back must know of the way there.
struct WayBack {
    /// The client's end of a WebSocket that it asked for.
    on_client: Option<OnUpgrade>,
    hold: Option<UpgradeHold>,
    peer: Rc<Peer>,
    address: IpAddr,
    /// The session that the request passed with.
    entry: Option<Arc<Entry>>,
    /// Whether the answer is somebody's own.
    private: bool,
    /// A fresh cookie that the session's browser is owed.
    cookie: Option<Box<Owed>>,
    /// Whether it asked an application to end its own session.
    logs_out: bool,
    /// Cookies that the application must not set.
    held: Vec<String>,
}

impl WayBack {
    /// The session of an application that may have been ended while it answered.
    fn asks_for_end(&self, core: &Core, response: &Response<Incoming>) -> Option<Arc<Entry>> {
        let entry = self.entry.as_ref()?;
        let sets = |names: &[String]| late::sets_session(response.headers(), names);
        let may = core.shared().around.sessions.may_have_ended(entry, sets);
        may.then(|| Arc::clone(entry))
    }

    fn relay(
        self,
        core: &Rc<Core>,
        route: Arc<Route>,
        answered: Answered,
        idle: Duration,
    ) -> Result<Response<Outgoing>, Refusal> {
        let Answered { response, lease } = answered;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(core, route, response);
        }
        if !framing::is_clear(response.headers()) {
            return Err(Refusal::Upstream(UpstreamFailure::Invalid));
        }
        let shared = core.shared();
        let (mut parts, body) = response.into_parts();
        shared.firewall.clean_response(&mut parts.headers);
        crate::web::strike(&mut parts.headers, TRANSFER_ENCODING);
        if let Some(entry) = &self.entry {
            let set = set_cookie_pairs(&parts.headers);
            shared.around.sessions.heed(entry, self.logs_out, set);
        }
        clean::hold_cookies(&mut parts.headers, &self.held);
        if self.private {
            own::keep_private(&mut parts.headers);
        }
        if let Some(cookie) = &self.cookie {
            cookie.add_to(parts.status, &mut parts.headers, &shared.around.sessions);
        }
        parts.version = Version::HTTP_11;
        let kind = parts.headers.get(CONTENT_TYPE);
        let events = kind.is_some_and(|kind| is_event_stream(kind.as_bytes()));
        let bond = || {
            let owner = owner_of(core, self.entry, route);
            match owner {
                owner if events => Bond::Watched(Ending::of_events(core, owner)),
                Some(owner) => Bond::Short(Short::new(owner)),
                None => Bond::Free,
            }
        };
        // A stream of events may be silent for as long as it likes; TCP keep-alive notices a server that is gone.
        let idle = (!events).then_some(idle);
        let body = Outgoing::relay(body, idle, lease, Arc::clone(&shared.firewall), bond);
        Ok(Response::from_parts(parts, body))
    }

    fn switch(
        self,
        core: &Rc<Core>,
        route: Arc<Route>,
        mut response: Response<Incoming>,
    ) -> Result<Response<Outgoing>, Refusal> {
        let shared = core.shared();
        let Some(client) = self.on_client.filter(|_| tunnel::agrees(response.headers())) else {
            return Err(Refusal::Upstream(UpstreamFailure::Invalid));
        };
        let application = hyper::upgrade::on(&mut response);
        tunnel::clean_switch(response.headers_mut(), &shared.firewall);
        let tunnel = Tunnel {
            client,
            application,
            hold: self.hold,
            session: owner_of(core, self.entry, route).map(Owner::watch),
            address: self.address,
            stop: shared.stop_streams.clone(),
            open: shared.upgrades.clone(),
            peer: self.peer,
        };
        tokio::task::spawn_local(tunnel.run());
        Ok(response.map(|_| Outgoing::whole(Bytes::new())))
    }
}

fn owner_of(core: &Rc<Core>, entry: Option<Arc<Entry>>, route: Arc<Route>) -> Option<Owner> {
    entry.map(|entry| Owner {
        core: Rc::clone(core),
        entry,
        route,
    })
}

/// Media types are compared without case (RFC 9110, 8.3.1).
fn is_event_stream(kind: &[u8]) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    kind.get(..EVENTS.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
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

#[cfg(test)]
mod tests {
    use super::Arrival;
    use super::Core;
    use super::Incoming;
    use super::Rc;
    use super::Request;

    fn size_of<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// A request's future is moved by hyper and by the runtime, and allocated beyond what an allocator keeps at hand:
    /// 5,000 bytes of it cost more than all header work together.
    #[test]
    fn what_every_request_carries_along_is_small() {
        let size = size_of(|(core, request, arrival): (Rc<Core>, Request<Incoming>, Arrival)| {
            super::handle(core, request, arrival)
        });
        assert!(size < 2048, "{size} bytes");
    }
}
