//! May this request pass? The session behind the cookie against the route's rule. Fails closed.

use super::intake::Arrived;
use super::refusal::Refusal;
use super::route::Route;
use super::settings::Access;
use super::settings::RouteSettings;
use crate::model::User;
use crate::session::Identified;
use crate::session::Live;
use crate::session::Local;
use crate::web::cookie_values;
use http::HeaderMap;
use http::Method;
use http::header::ORIGIN;

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

/// Decides. Dropping the future decides nothing and loses nothing.
///
/// # Errors
/// The rule that was not met, or that it could not be asked.
pub async fn decide(arrived: &Arrived, route: &Route, sessions: &Local, cookie: &str) -> Result<Pass, Refusal> {
    let rule = &route.settings;
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
    let headers = arrived.request.headers();
    if rule.allow_preflight && is_preflight(arrived.request.method(), headers) {
        return Ok(Pass::Preflight);
    }
    if rule.access == Access::Public {
        return Ok(Pass::Anonymous);
    }
    match identify(headers, sessions, cookie, rule).await {
        Identified::Live(live) => check_user(&live.entry.user, rule).map(|()| Pass::User(live)),
        Identified::Unavailable => Err(Refusal::Unavailable),
        Identified::Conflict => Err(Refusal::Conflict),
        Identified::Anonymous | Identified::Dead if rule.access == Access::Optional => Ok(Pass::Anonymous),
        Identified::Anonymous => Err(Refusal::Unauthenticated { dead: false }),
        Identified::Dead => Err(Refusal::Unauthenticated { dead: true }),
    }
}

async fn identify(headers: &HeaderMap, sessions: &Local, cookie: &str, rule: &RouteSettings) -> Identified {
    let mut values = cookie_values(headers, cookie);
    let Some(first) = values.next() else {
        return Identified::Anonymous;
    };
    let Some(second) = values.next() else {
        return sessions.identify(&[first], rule.outage_grace).await;
    };
    let all: Vec<&[u8]> = [first, second].into_iter().chain(values).collect();
    sessions.identify(&all, rule.outage_grace).await
}

/// With `groups` and `users` both, either is enough: each names people who may pass.
fn check_user(user: &User, rule: &RouteSettings) -> Result<(), Refusal> {
    if rule.groups.is_empty() && rule.users.is_empty() {
        return Ok(());
    }
    let member = user.groups.iter().any(|group| rule.groups.contains(group));
    let named = rule.users.iter().any(|name| name == user.username.as_str());
    if member || named {
        Ok(())
    } else {
        Err(Refusal::Forbidden("not_a_member"))
    }
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key("access-control-request-method")
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
