use super::clean::Firewall;
use super::gate::Pass;
use super::identity::Profile;
use super::intake::Arrived;
use super::intake::Client;
use super::outgoing::Outgoing;
use super::own::Refused;
use super::own::without_body;
use super::refusal::Refusal;
use super::renewal::Owed;
use super::route::Route;
use super::route::Routes;
use super::settings::Settings;
use super::spelling::TheirCookies;
use super::trip::Facts;
use super::trip::Trip;
use super::upstream::Upstream;
use crate::portal;
use crate::session::CookieSettings;
use crate::session::Live;
use crate::session::Local;
use crate::session::Sessions;
use crate::telemetry::AccessLog;
use crate::telemetry::Metrics;
use crate::telemetry::RouteMetrics;
use crate::web::Arrival;
use crate::web::Desk;
use crate::web::Peer;
use crate::web::RequestId;
use crate::web::Scheme;
use crate::web::cookie_values;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the proxy is given by the rest of the system.
pub struct Surroundings {
    /// Sessions of this process.
    pub sessions: Arc<Sessions>,
    /// The gateway's pages.
    pub portal: Arc<dyn Desk>,
    /// How they look; refusals look the same.
    pub portal_settings: portal::Settings,
    /// The operators' side, on their own listener.
    pub admin: Arc<dyn Desk>,
    /// The same for members of the administrators' group, below the portal's prefix; `None` where no group is set.
    pub members: Option<Arc<dyn Desk>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Access log, if there is one.
    pub access: Option<AccessLog>,
    /// Where desks work.
    pub control: tokio::runtime::Handle,
    /// Cancelled when streams must end.
    pub stop_streams: CancellationToken,
    /// The port that browsers reach https at; `None` without an https listener.
    pub https_port: Option<u16>,
    /// Cookies of ours besides the session's, which do not go to applications either.
    pub own_cookies: Vec<String>,
    /// How many cores share the bound on requests in flight.
    pub cores: usize,
}

/// What all cores share: immutable.
pub struct Shared {
    /// Rules.
    pub settings: Settings,
    pub(super) routes: Routes,
    pub(super) firewall: Arc<Firewall>,
    pub(super) cookie: CookieSettings,
    pub(super) around: Surroundings,
    pub(super) stop_streams: CancellationToken,
    pub(super) upgrades: Gauge,
    pub(super) events: Gauge,
    pub(super) bodies: Gauge,
    refusals: HashMap<&'static str, Counter>,
    portal_metrics: RouteMetrics,
    admin_metrics: RouteMetrics,
    no_route: RouteMetrics,
    id_seed: u64,
}

/// The proxy on one core. Not `Send`.
pub struct Core {
    shared: Arc<Shared>,
    sessions: Local,
    upstreams: Vec<Upstream>,
    /// Shared with the core that came before: no id is given twice.
    next_id: Rc<Cell<u64>>,
    index: u64,
}

impl Shared {
    /// Builds the tables once. `id_seed` is random, so that request ids of two runs differ.
    #[must_use]
    pub fn new(settings: Settings, cookie: CookieSettings, around: Surroundings, id_seed: u64) -> Arc<Self> {
        let metrics = &around.metrics;
        let routes: Vec<_> = settings
            .routes
            .iter()
            .map(|route| {
                let profile = Profile::new(&route.identity).counting(Arc::clone(metrics));
                (route.clone(), metrics.route(&route.name), profile)
            })
            .collect();
        let configured: Vec<HeaderName> = routes
            .iter()
            .flat_map(|(route, _, profile)| profile.names().chain(route.set_headers.iter().map(|(name, _)| name)))
            .cloned()
            .collect();
        let routes = Routes::new(routes, &settings.portal_prefix).with_aliases(&settings.aliases);
        let mut own_cookies = around.own_cookies.clone();
        own_cookies.push(cookie.name.clone());
        let firewall = Firewall::new(
            configured.iter(),
            routes.strip_method_overrides,
            own_cookies,
            TheirCookies::new(around.sessions.their_cookies()),
            &settings.portal_prefix,
        );
        let refusals = Refusal::REASONS
            .into_iter()
            .map(|reason| (reason, metrics.refusal(reason)))
            .collect();
        Arc::new(Self {
            portal_metrics: metrics.route("portal"),
            admin_metrics: metrics.route("admin"),
            no_route: metrics.route("none"),
            upgrades: metrics.stream("upgrade"),
            events: metrics.stream("events"),
            bodies: metrics.stream("body"),
            stop_streams: around.stop_streams.clone(),
            firewall: Arc::new(firewall),
            settings,
            routes,
            cookie,
            around,
            refusals,
            id_seed,
        })
    }
}

impl Shared {
    /// One core's view of the upstreams; `before` finds the one of the same name that came before.
    fn upstreams<'a>(&self, before: impl Fn(&str) -> Option<&'a Upstream>) -> Vec<Upstream> {
        let upstream = |settings: &super::UpstreamSettings| {
            let most = settings.most_in_flight.div_ceil(self.around.cores.max(1));
            let failed = Box::new(self.around.metrics.upstream(&settings.name));
            Upstream::new(settings.clone(), most, failed, before(&settings.name))
        };
        self.settings.upstreams.iter().map(upstream).collect()
    }
}

impl Core {
    /// The proxy on the core `index`. To be made on the thread that uses it.
    #[must_use]
    pub fn new(shared: Arc<Shared>, index: usize) -> Rc<Self> {
        let upstreams = shared.upstreams(|_| None);
        let sessions = Local::new(Arc::clone(&shared.around.sessions));
        Rc::new(Self {
            sessions,
            upstreams,
            next_id: Rc::default(),
            index: index as u64,
            shared,
        })
    }

    /// The proxy on the same core by other rules. Requests that are under way keep those they began with; connections to
    /// servers that both name are used on.
    #[must_use]
    pub fn successor(&self, shared: Arc<Shared>) -> Rc<Self> {
        let before = |name: &str| self.upstreams.iter().find(|upstream| upstream.name() == name);
        Rc::new(Self {
            sessions: self.sessions.successor(Arc::clone(&shared.around.sessions)),
            upstreams: shared.upstreams(before),
            next_id: Rc::clone(&self.next_id),
            index: self.index,
            shared,
        })
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) const fn sessions(&self) -> &Local {
        &self.sessions
    }

    pub(super) fn upstream(&self, route: &Route) -> Option<&Upstream> {
        self.upstreams.get(route.settings.upstream?)
    }

    /// A request of this session goes to its application: a fresh cookie if its browser is owed one.
    pub(super) fn note_activity(&self, live: &Live, arrived: &Arrived) -> Option<Box<Owed>> {
        let sessions = &self.shared.around.sessions;
        sessions.touch(&live.entry, arrived.client.address);
        let values = cookie_values(arrived.request.headers(), &self.shared.cookie.name);
        let renewal = sessions.renewal(&live.entry, values);
        renewal.map(|renewal| Box::new(Owed::new(renewal, &arrived.client)))
    }

    /// A new trip. Ids are a random seed, the core and a counter, mixed so that neighbours look nothing alike.
    pub(super) fn begin(&self, request: &Request<Incoming>, arrival: &Arrival) -> Trip {
        let count = self.next_id.get();
        self.next_id.set(count.wrapping_add(1));
        let high = mix(self.shared.id_seed ^ (self.index << 48));
        let low = mix(high.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let id = RequestId(u128::from(high) << 64 | u128::from(low));
        let facts = self.shared.around.access.as_ref().map(|log| {
            let path = if arrival.fault.is_some() {
                ""
            } else {
                request.uri().path()
            };
            Box::new(Facts::new(
                log.clone(),
                request.method().clone(),
                path,
                arrival.peer.address.ip(),
            ))
        });
        Trip::new(id, self.shared.no_route.clone(), facts)
    }

    pub(super) fn refuse(&self, refusal: Refusal, refused: &Refused, trip: &mut Trip) -> Response<Outgoing> {
        if let Some(counter) = self.shared.refusals.get(refusal.reason()) {
            counter.inc();
        }
        trip.refused(refusal);
        let context = refused.context(trip);
        let mut answer = refusal.answer(&context, &self.shared.cookie, &self.shared.around.portal_settings);
        if matches!(refusal, Refusal::Conflict) {
            for line in self.shared.around.sessions.clear_moved(context.host, context.https) {
                if let Ok(value) = HeaderValue::try_from(line) {
                    answer.headers_mut().append(http::header::SET_COOKIE, value);
                }
            }
        }
        if refused.is_head() {
            without_body(answer)
        } else {
            answer
        }
    }

    pub(super) fn portal_metrics(&self) -> RouteMetrics {
        self.shared.portal_metrics.clone()
    }

    pub(super) fn admin_metrics(&self) -> RouteMetrics {
        self.shared.admin_metrics.clone()
    }
}

/// `Host` for the application: what the browser asked for, in canonical form.
pub(super) fn host_value(client: &Client) -> Result<HeaderValue, Refusal> {
    HeaderValue::try_from(client.authority()).map_err(|_| Refusal::Malformed("host"))
}

/// The last touches: HSTS where it is due, and the trip follows the body.
pub(super) fn finish(mut answer: Response<Outgoing>, peer: &Peer, mut trip: Box<Trip>) -> Response<Outgoing> {
    if let (Some(age), Scheme::Https) = (peer.listener.hsts, peer.listener.scheme)
        && has_public_name(peer)
        && let Ok(value) = HeaderValue::try_from(format!("max-age={}", age.as_secs()))
    {
        answer.headers_mut().entry("strict-transport-security").or_insert(value);
    }
    trip.status = answer.status().as_u16();
    answer.map(|body| body.followed_by(trip))
}

/// Whether the browser came by a name that is not this machine's own. At an address it asks for none (RFC 6066, 3), and
/// what it learns there or of `localhost` it would hold against every other program on this machine (RFC 6797, 8.1.1).
fn has_public_name(peer: &Peer) -> bool {
    let name = peer.server_name.as_deref().map(|name| name.trim_end_matches('.'));
    name.is_some_and(|name| {
        name != "localhost" && !name.ends_with(".localhost") && name.parse::<std::net::IpAddr>().is_err()
    })
}

/// The finaliser of `SplitMix64`: every bit of the result depends on every bit of `x`.
const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Trip {
    /// The client is known.
    pub(super) fn came_from(&mut self, client: &Client) {
        if let Some(facts) = &mut self.facts {
            facts.address = client.address;
            facts.host.clone_from(&client.host);
        }
    }

    /// The route is known.
    pub(super) fn goes_to(&mut self, route: &Arc<Route>) {
        self.metrics = route.metrics.clone();
        self.scripts_only = route.settings.api;
        if let Some(facts) = &mut self.facts {
            facts.route = Some(Arc::clone(route));
        }
    }

    /// The user is known.
    pub(super) fn passes_as(&mut self, pass: &Pass) {
        if let (Some(facts), Pass::User(live)) = (&mut self.facts, pass) {
            facts.identity = Some((live.entry.user.id, live.entry.session.public_id));
        }
    }

    /// The server is known.
    pub(super) fn answered_by(&mut self, server: &str) {
        if let Some(facts) = &mut self.facts {
            facts.server = Some(server.to_owned());
        }
    }

    /// It was refused.
    pub(super) fn refused(&mut self, refusal: Refusal) {
        if let Some(facts) = &mut self.facts {
            facts.refusal = Some(refusal);
        }
    }
}
