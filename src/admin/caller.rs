//! Who asks: a program with the token, a browser that used a link, or a member of the group.

use super::Admin;
use super::refusal::Refusal;
use crate::account::LINK_ACTOR;
use crate::account::TOKEN_ACTOR;
use crate::audit::Event;
use crate::audit::EventKind;
use crate::model::Digest;
use crate::model::UserId;
use crate::session::Identified;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::Sender;
use crate::web::cookie_values;
use crate::web::sender;
use aws_lc_rs::constant_time;
use aws_lc_rs::digest;
use http::Method;
use http::header::AUTHORIZATION;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// How fresh a member's log-in must be to change something, and to see something.
const FRESH_TO_CHANGE: Duration = Duration::from_mins(15);
const FRESH_TO_SEE: Duration = Duration::from_hours(12);
/// Refusals written to the audit log in a minute, at most: a flood must not fill the disk.
const AUDITED: u32 = 10;

/// Names of the cookie, over https and over plain http. A browser sends them to every port of a host: none of them goes to
/// an application.
pub const COOKIES: [&str; 2] = ["__Host-portcullis-admin", "portcullis-admin"];
/// Most cookies of that name that are looked up.
const MOST_COOKIES: usize = 4;

const HOW: &str = "Send `Authorization: Bearer TOKEN` with the admin token, or open the page with \
                   `portcullis admin login-link`";
const WRONG: &str = "This is not the admin token";
const NO_TOKEN: &str = "No admin token is set: make one with `portcullis admin token`, set it as `token` under [admin] or \
                        as PORTCULLIS_ADMIN_TOKEN, and reload or restart; or open the page with `portcullis admin login-link`";

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// As the audit log calls them: a user name, `admin-token` or `admin-link`.
    pub actor: String,
    /// The member, where it is one.
    pub member: Option<UserId>,
}

impl Caller {
    /// A browser that used a link.
    pub(super) fn by_link() -> Self {
        Self {
            actor: LINK_ACTOR.to_owned(),
            member: None,
        }
    }
}

/// SHA-256 of the token: digests have one length, so that comparing them tells nothing of the token's.
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &SecretString) -> Self {
        Self(sha256(token.expose_secret().as_bytes()))
    }

    pub(super) fn is(&self, token: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &sha256(token)).is_ok()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// How many refusals were audited in the minute under way.
#[derive(Default)]
pub(super) struct Audited(Mutex<(u64, u32)>);

impl Audited {
    pub(super) fn takes_one(&self, now_seconds: i64) -> bool {
        let minute = u64::try_from(now_seconds / 60).unwrap_or(0);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != minute {
            *seen = (minute, 0);
        }
        seen.1 = seen.1.saturating_add(1);
        seen.1 <= AUDITED
    }
}

impl Admin {
    /// Who asks on the admin listener: a program with the token, or a browser that used a link.
    ///
    /// # Errors
    /// `Unauthenticated`, `Throttled`, `Foreign`, `Unavailable`.
    pub(super) async fn at_listener(&self, exchange: &Exchange) -> Result<Caller, Refusal> {
        let mut lines = exchange.headers.get_all(AUTHORIZATION).iter();
        let (first, more) = (lines.next(), lines.next());
        match (&self.token, first) {
            (_, None) => self.as_browser(exchange).await,
            (None, Some(_)) => Err(Refusal::Unauthenticated(NO_TOKEN)),
            (Some(token), Some(line)) => {
                let given = bearer(line.as_bytes()).filter(|_| more.is_none());
                let is_right = || given.is_some_and(|given| token.is(given));
                if self.accounts.throttle().check_token(exchange.address, is_right).await? {
                    return Ok(Caller {
                        actor: TOKEN_ACTOR.to_owned(),
                        member: None,
                    });
                }
                self.refused(exchange, None, "wrong_token").await;
                Err(Refusal::Unauthenticated(WRONG))
            }
        }
    }

    async fn as_browser(&self, exchange: &Exchange) -> Result<Caller, Refusal> {
        if self.pass_of(exchange).await?.is_none() {
            return Err(Refusal::Unauthenticated(if self.token.is_some() {
                HOW
            } else {
                NO_TOKEN
            }));
        }
        if changes(exchange) && sender(&exchange.headers, &exchange.origin()) != Sender::Ours {
            return Err(Refusal::Foreign);
        }
        Ok(Caller::by_link())
    }

    /// The pass that a browser holds, if it is good.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn pass_of(&self, exchange: &Exchange) -> Result<Option<Digest>, Refusal> {
        let values = cookie_values(&exchange.headers, pass_cookie(exchange.scheme));
        for value in values.take(MOST_COOKIES) {
            let Ok(value) = std::str::from_utf8(value) else {
                continue;
            };
            if let Some(pass) = self.accounts.find_pass(value).await? {
                return Ok(Some(pass));
            }
        }
        Ok(None)
    }

    /// Who asks under the portal's prefix.
    ///
    /// # Errors
    /// `SignIn`, `NotMember`, `StepUp`, `Foreign`, and `Unavailable` when it could not be asked whose session it is: no
    /// outage grace here.
    pub(super) async fn as_member(&self, exchange: &Exchange, group: &str) -> Result<Caller, Refusal> {
        let login = || format!("{}/login", self.prefix);
        let name = self.sessions.cookie().name.as_str();
        let values: Vec<&[u8]> = cookie_values(&exchange.headers, name).collect();
        let live = match self.sessions.identify(&values, Duration::ZERO).await {
            Identified::Live(live) => live,
            Identified::Unavailable => return Err(Refusal::Unavailable),
            Identified::Anonymous | Identified::Dead | Identified::Conflict => return Err(Refusal::SignIn(login())),
        };
        let (user, session) = (&live.entry.user, &live.entry.session);
        if !user.groups.iter().any(|of| of == group) {
            self.refused(exchange, Some(user), "not_member").await;
            return Err(Refusal::NotMember);
        }
        let changes = changes(exchange);
        if changes && sender(&exchange.headers, &exchange.origin()) != Sender::Ours {
            return Err(Refusal::Foreign);
        }
        let fresh = if changes { FRESH_TO_CHANGE } else { FRESH_TO_SEE };
        if self.sessions.now().since(session.authenticated_at) > fresh {
            return Err(Refusal::StepUp(login()));
        }
        Ok(Caller {
            actor: user.username.to_string(),
            member: Some(user.id),
        })
    }

    /// Writes down that somebody was not let in.
    pub(super) async fn refused(&self, exchange: &Exchange, user: Option<&crate::model::User>, reason: &'static str) {
        let now = self.sessions.now();
        tracing::warn!(request.id = %exchange.request_id, client.address = %exchange.address, reason,
            "somebody was refused on the operators' side");
        if !self.audited.takes_one(now.as_seconds()) {
            return;
        }
        let event = Event {
            user: user.map(|user| user.id),
            username: user.map(|user| user.username.to_string()),
            address: Some(exchange.address),
            reason: Some(reason),
            ..Event::new(now, EventKind::AdminRefused, "system")
        };
        if let Err(error) = self.log.record(event).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a refusal could not be written to the audit log");
        }
    }
}

/// The cookie of a browser that used a link. Only https can have the prefixed one.
pub(super) const fn pass_cookie(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Https => COOKIES[0],
        Scheme::Http => COOKIES[1],
    }
}

fn changes(exchange: &Exchange) -> bool {
    !matches!(exchange.method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The token of `Bearer TOKEN` (RFC 6750, 2.1); the scheme in any case (RFC 9110, 11.1).
fn bearer(line: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = line.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::{AUDITED, Audited, TokenDigest, bearer};

    #[test]
    fn a_token_is_compared_whole() {
        let token = TokenDigest::of(&"0123456789abcdef0123456789abcdef".into());
        assert!(token.is(b"0123456789abcdef0123456789abcdef"));
        for other in [
            &b""[..],
            b"0123456789abcdef0123456789abcde",
            b"0123456789abcdef0123456789abcdefg",
        ] {
            assert!(!token.is(other));
        }
        assert_eq!(bearer(b"bEARER  a.b "), Some(&b"a.b"[..]));
        for line in [&b"Basic YTpi"[..], b"Bearer", b"a.b", b""] {
            assert_eq!(bearer(line), None);
        }
    }

    #[test]
    fn a_flood_of_refusals_does_not_fill_the_log() {
        let audited = Audited::default();
        let written = (0..1000).filter(|_| audited.takes_one(60)).count();
        assert_eq!(written, AUDITED as usize);
        assert!(audited.takes_one(120));
    }
}
