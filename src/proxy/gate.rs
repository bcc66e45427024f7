//! May this request pass? The session behind the cookie against the route's rule. Fails closed.

use super::clean::withhold_cookies;
use super::intake::Arrived;
use super::refusal::Refusal;
use super::route::Route;
use super::settings::Access;
use super::settings::RouteSettings;
use crate::model::User;
use crate::session::Among;
use crate::session::Identified;
use crate::session::Live;
use crate::session::Local;
use crate::session::Recognised;
use crate::session::Withheld;
use crate::web::cookie_pairs;
use crate::web::cookie_values;
use http::HeaderMap;
use http::Method;
use http::Request;
use http::header::ORIGIN;
use http_body::Body;
use hyper::body::Incoming;

/// A request may pass.
#[derive(Debug)]
pub enum Pass {
    /// As nobody.
    Anonymous,
    /// As a user.
    User(Live),
    /// A CORS pre-flight: with nothing but its own headers.
    Preflight,
}

/// Decides where nothing has to be waited for: `None` when the store must be asked. Takes cookies from the request that
/// must not go on.
///
/// `Some(Err)` is the rule that was not met.
pub fn decide_now(
    arrived: &mut Arrived,
    route: &Route,
    sessions: &Local,
    cookie: &str,
) -> Option<Result<Pass, Refusal>> {
    let rule = &route.settings;
    let headers = arrived.request.headers();
    let withheld = sessions
        .shared()
        .withheld(&arrived.client.host, asked(rule), cookie_pairs(headers));
    match withheld {
        Withheld::Names(names) if names.is_empty() => {}
        Withheld::Names(names) => withhold_cookies(arrived.request.headers_mut(), &names),
        Withheld::Unknown => return None,
    }
    if let Some(decision) = without_session(arrived, rule).transpose() {
        return Some(decision);
    }
    let headers = arrived.request.headers();
    let values = values_of(headers, cookie);
    let identified = match values.as_slice() {
        values if !rule.sessions.sources.is_empty() => {
            let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(headers).collect();
            sessions.try_identify_among(&rule.sessions, &arrived.client.host, values, &cookies)?
        }
        [] => Identified::Anonymous,
        values => sessions.try_identify(values)?,
    };
    Some(judge(identified, rule))
}

/// Decides after asking the store. Dropping the future decides nothing and loses nothing.
///
/// # Errors
/// The rule that was not met, or that it could not be asked.
pub async fn decide(arrived: &mut Arrived, route: &Route, sessions: &Local, cookie: &str) -> Result<Pass, Refusal> {
    let rule = &route.settings;
    let pairs = cookie_pairs(arrived.request.headers());
    let shared = sessions.shared();
    let withheld = shared.withheld_asking(&arrived.client.host, asked(rule), pairs).await;
    if !withheld.is_empty() {
        withhold_cookies(arrived.request.headers_mut(), &withheld);
    }
    // It was not looked at yet where a cookie had to be asked about.
    if let Some(decision) = without_session(arrived, rule).transpose() {
        return decision;
    }
    if !rule.sessions.sources.is_empty() {
        let (decision, withheld) = decide_among(arrived, rule, sessions, cookie).await;
        if !withheld.is_empty() {
            withhold_cookies(arrived.request.headers_mut(), &withheld);
        }
        return decision;
    }
    let identified = sessions
        .identify(
            values_of(arrived.request.headers(), cookie).as_slice(),
            rule.outage_grace,
        )
        .await;
    judge(identified, rule)
}

/// The sources that a rule asks for whose request it is.
fn asked(rule: &RouteSettings) -> &[String] {
    match rule.access {
        Access::Public => &[],
        _ => &rule.sessions.sources,
    }
}

/// The same where a route accepts sessions of applications.
async fn decide_among(
    arrived: &Arrived,
    rule: &RouteSettings,
    sessions: &Local,
    cookie: &str,
) -> (Result<Pass, Refusal>, Vec<String>) {
    let headers = arrived.request.headers();
    let values = values_of(headers, cookie);
    let cookies: Vec<(&[u8], &[u8])> = cookie_pairs(headers).collect();
    let host = &arrived.client.host;
    let named = sessions.identify_among(&rule.sessions, host, values.as_slice(), &cookies, rule.outage_grace);
    let Recognised { who, withheld } = named.await;
    let decision = match who {
        Among::One(identified) => judge(identified, rule),
        // Who wants to leave the application is let through as whom it takes them for: else nobody could.
        Among::Twice(pair) => {
            let path = arrived.request.uri().path();
            let leaves = |live: &Live| sessions.shared().is_log_out(&live.entry, path);
            match pair.into_iter().find(leaves) {
                Some(live) => judge(Identified::Live(live), rule),
                None => Err(Refusal::SignedInTwice),
            }
        }
    };
    (decision, withheld)
}

/// What can be said before anybody asks who it is.
fn without_session(arrived: &Arrived, rule: &RouteSettings) -> Result<Option<Pass>, Refusal> {
    if !rule.networks.is_empty()
        && !rule
            .networks
            .iter()
            .any(|network| network.contains(&arrived.client.address))
    {
        return Err(Refusal::Forbidden("network"));
    }
    if rule.access == Access::Deny {
        return Err(Refusal::Forbidden("deny"));
    }
    if arrived.websocket {
        check_origin(arrived, rule)?;
    }
    if rule.allow_preflight && is_preflight(&arrived.request) {
        return Ok(Some(Pass::Preflight));
    }
    Ok((rule.access == Access::Public).then_some(Pass::Anonymous))
}

fn judge(identified: Identified, rule: &RouteSettings) -> Result<Pass, Refusal> {
    match identified {
        Identified::Live(live) if allows(&live.entry.user, rule) => Ok(Pass::User(live)),
        Identified::Live(_) => Err(Refusal::Forbidden("not_a_member")),
        Identified::Unavailable => Err(Refusal::Unavailable),
        Identified::Conflict => Err(Refusal::Conflict),
        Identified::Anonymous | Identified::Dead if rule.access == Access::Optional => Ok(Pass::Anonymous),
        Identified::Anonymous => Err(Refusal::Unauthenticated { dead: false }),
        Identified::Dead => Err(Refusal::Unauthenticated { dead: true }),
    }
}

/// The values of our cookie. More than one is rare and worth an allocation; one is not.
fn values_of<'a>(headers: &'a HeaderMap, cookie: &'a str) -> Values<'a> {
    let mut values = cookie_values(headers, cookie);
    match (values.next(), values.next()) {
        (None, _) => Values::None,
        (Some(only), None) => Values::One([only]),
        (Some(first), Some(second)) => Values::Many([first, second].into_iter().chain(values).collect()),
    }
}

enum Values<'a> {
    None,
    One([&'a [u8]; 1]),
    Many(Vec<&'a [u8]>),
}

impl<'a> Values<'a> {
    fn as_slice(&self) -> &[&'a [u8]] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

/// Whether the rule lets this user pass. With `groups` and `users` both, either is enough: each names people who may.
#[must_use]
pub fn allows(user: &User, rule: &RouteSettings) -> bool {
    let narrowed = !rule.groups.is_empty() || !rule.users.is_empty();
    let member = || user.groups.iter().any(|group| rule.groups.contains(group));
    let named = || rule.users.iter().any(|name| name == user.username.as_str());
    !narrowed || member() || named()
}

/// A pre-flight has no body (Fetch, 4.8): what carries one would bring it to the application without a session.
fn is_preflight(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key("access-control-request-method")
        && request.body().is_end_stream()
}

/// Browsers send the page's origin with every WebSocket and do not ask before (RFC 6455, 10.2): a foreign page must not
/// use the user's cookie. A client without `Origin` is no browser.
fn check_origin(arrived: &Arrived, rule: &RouteSettings) -> Result<(), Refusal> {
    let mut lines = arrived.request.headers().get_all(ORIGIN).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(()),
        (Some(origin), None) => {
            let origin = origin.as_bytes();
            let own = arrived.client.origin();
            let allowed = origin.eq_ignore_ascii_case(own.as_bytes())
                || rule
                    .origins
                    .iter()
                    .any(|other| origin.eq_ignore_ascii_case(other.as_bytes()));
            if allowed { Ok(()) } else { Err(Refusal::Origin) }
        }
        _ => Err(Refusal::Origin),
    }
}
