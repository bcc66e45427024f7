use super::Portal;
use crate::account::KnownBrowser;
use crate::account::Origin;
use crate::model::Timestamp;
use crate::model::UserId;
use crate::web::Answer;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::cookie_values;
use aws_lc_rs::hmac::{self, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{SET_COOKIE, USER_AGENT};
use std::time::Duration;
use uuid::Uuid;

/// How long a browser is known: as long as browsers keep a cookie at most (RFC 6265bis, 5.6.1).
const LIFE: Duration = Duration::from_hours(400 * 24);
/// How far another instance's clock may be ahead.
const SKEW: Duration = Duration::from_mins(1);
/// Most cookies of our name that are tried; a neighbouring host can plant more.
const MOST_COOKIES: usize = 4;
/// Most users that one browser is known to, the last ones.
const MOST_USERS: usize = 4;

const SECURE_COOKIE: &str = "__Host-portcullis-known";
const PLAIN_COOKIE: &str = "portcullis-known";

const ID: usize = 16;
const TIME: usize = 8;
const USER: usize = 16;
const TAG: usize = 32;

/// The names of the cookie by which a browser is known. They concern nobody behind the gateway.
pub(super) const NAMES: [&str; 2] = [SECURE_COOKIE, PLAIN_COOKIE];

/// Knows browsers again in which somebody signed in: base64url of an id, the time, the keys of users, and an HMAC over
/// them. It signs nobody in; attempts from such a browser are counted for themselves, and it is no new device.
pub(super) struct KnownBrowsers {
    keys: Vec<Key>,
}

impl KnownBrowsers {
    /// The first of `keys` signs, all of them verify.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// What the browser behind `exchange` proves.
    pub(super) fn read(&self, exchange: &Exchange, now: Timestamp) -> Vec<KnownBrowser> {
        cookie_values(&exchange.headers, cookie_name(exchange))
            .take(MOST_COOKIES)
            .filter_map(|value| self.check(value, now))
            .collect()
    }

    fn check(&self, value: &[u8], now: Timestamp) -> Option<KnownBrowser> {
        const LONGEST: usize = (ID + TIME + MOST_USERS * USER + TAG).div_ceil(3) * 4;
        if value.len() > LONGEST {
            return None;
        }
        let raw = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (said, tag) = raw.split_at_checked(raw.len().checked_sub(TAG)?)?;
        if !self.keys.iter().any(|key| hmac::verify(key, said, tag).is_ok()) {
            return None;
        }
        let (id, rest) = said.split_first_chunk::<ID>()?;
        let (issued, users) = rest.split_first_chunk::<TIME>()?;
        let at = Timestamp::from_micros(i64::from_be_bytes(*issued).saturating_mul(1_000_000));
        let timely = at <= now.plus(SKEW) && now.since(at) <= LIFE;
        let (users, rest) = users.as_chunks::<USER>();
        let users: Vec<UserId> = users.iter().map(|user| UserId(Uuid::from_bytes(*user))).collect();
        (timely && rest.is_empty()).then_some(KnownBrowser { id: *id, users })
    }

    /// The cookie by which the browser behind `exchange` is known from here on, to `user` and to who was known there
    /// before; with a new id, so that nobody can follow a browser by it. `None` without randomness.
    pub(super) fn cookie(&self, exchange: &Exchange, user: UserId, now: Timestamp) -> Option<HeaderValue> {
        let mut users = vec![user];
        for known in self.read(exchange, now).into_iter().flat_map(|browser| browser.users) {
            if users.len() < MOST_USERS && !users.contains(&known) {
                users.push(known);
            }
        }
        let mut said = vec![0; ID];
        getrandom::fill(&mut said).ok()?;
        said.extend_from_slice(&now.as_seconds().to_be_bytes());
        for user in users {
            said.extend_from_slice(user.0.as_bytes());
        }
        let tag = hmac::sign(self.keys.first()?, &said);
        said.extend_from_slice(tag.as_ref());
        let (name, value) = (cookie_name(exchange), URL_SAFE_NO_PAD.encode(&said));
        let secure = match exchange.scheme {
            Scheme::Https => "; Secure",
            Scheme::Http => "",
        };
        let life = LIFE.as_secs();
        let text = format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

impl Portal {
    /// Where the request comes from, and what its browser proves of log-ins before.
    pub(super) fn origin(&self, exchange: &Exchange) -> Origin {
        let agent = exchange.headers.get(USER_AGENT);
        Origin {
            address: exchange.address,
            user_agent: agent.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            browsers: self.browsers.read(exchange, self.sessions.now()),
        }
    }

    /// Makes the browser known to `user`, who has just signed in there.
    pub(super) fn know_browser(&self, exchange: &Exchange, user: UserId, answer: &mut Answer) {
        if let Some(cookie) = self.browsers.cookie(exchange, user, self.sessions.now()) {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

const fn cookie_name(exchange: &Exchange) -> &'static str {
    match exchange.scheme {
        Scheme::Https => SECURE_COOKIE,
        Scheme::Http => PLAIN_COOKIE,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::exchange;
    use super::*;
    use aws_lc_rs::hmac::HMAC_SHA256;
    use http::Method;
    use http::header::COOKIE;
    use proptest::prelude::*;

    fn browsers(secrets: &[u8]) -> KnownBrowsers {
        KnownBrowsers::new(secrets.iter().map(|byte| Key::new(HMAC_SHA256, &[*byte; 32])).collect())
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_769_860_800_000_000)
    }

    fn user(number: u128) -> UserId {
        UserId(Uuid::from_u128(number))
    }

    fn asking() -> Exchange {
        exchange(Method::POST, "/.portcullis/login")
    }

    /// A request with the pair that `cookie` sets.
    fn with(cookie: &HeaderValue) -> Exchange {
        let mut asking = asking();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap();
        asking.headers.insert(COOKIE, pair.parse().unwrap());
        asking
    }

    #[test]
    fn a_browser_is_known_to_whoever_signed_in_there() {
        let browsers = browsers(&[1]);
        assert!(browsers.read(&asking(), now()).is_empty());
        let first = browsers.cookie(&asking(), user(1), now()).unwrap();
        let known = browsers.read(&with(&first), now());
        assert_eq!(known[0].users, [user(1)]);
        let second = browsers.cookie(&with(&first), user(2), now()).unwrap();
        let both = browsers.read(&with(&second), now());
        assert_eq!(both[0].users, [user(2), user(1)]);
        assert_ne!(both[0].id, known[0].id, "each log-in gives a new id");
    }

    #[test]
    fn the_last_four_users_are_kept() {
        let browsers = browsers(&[1]);
        let mut request = asking();
        for number in [1, 2, 3, 4, 5, 3] {
            request = with(&browsers.cookie(&request, user(number), now()).unwrap());
        }
        let known = browsers.read(&request, now());
        assert_eq!(known[0].users, [user(3), user(5), user(4), user(2)]);
    }

    #[test]
    fn a_browser_is_known_for_400_days_and_never_from_the_future() {
        let browsers = browsers(&[1]);
        let request = with(&browsers.cookie(&asking(), user(1), now()).unwrap());
        assert_eq!(browsers.read(&request, now().plus(LIFE)).len(), 1);
        assert!(
            browsers
                .read(&request, now().plus(LIFE + Duration::from_secs(1)))
                .is_empty()
        );
        assert!(browsers.read(&request, now().minus(Duration::from_secs(61))).is_empty());
    }

    #[test]
    fn a_secret_that_is_still_listed_is_still_believed() {
        let request = with(&browsers(&[1]).cookie(&asking(), user(1), now()).unwrap());
        assert_eq!(browsers(&[2, 1]).read(&request, now()).len(), 1);
        assert!(browsers(&[2]).read(&request, now()).is_empty());
    }

    #[test]
    fn the_cookie_is_for_this_host_only_and_no_script_reads_it() {
        let cookie = browsers(&[1]).cookie(&asking(), user(1), now()).unwrap();
        assert!(cookie.is_sensitive());
        let text = cookie.to_str().unwrap();
        assert!(text.starts_with("__Host-portcullis-known="), "{text}");
        assert!(
            text.ends_with("; Path=/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure"),
            "{text}"
        );
        let mut plain = asking();
        plain.scheme = Scheme::Http;
        let cookie = browsers(&[1]).cookie(&plain, user(1), now()).unwrap();
        let text = cookie.to_str().unwrap();
        assert!(
            text.starts_with("portcullis-known=") && !text.contains("Secure"),
            "{text}"
        );
    }

    #[test]
    fn a_flood_of_planted_cookies_costs_four_checks() {
        let browsers = browsers(&[1]);
        let cookie = browsers.cookie(&asking(), user(1), now()).unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut request = asking();
        let planted = ["__Host-portcullis-known=AAAA"; 4].join("; ");
        request
            .headers
            .insert(COOKIE, format!("{planted}; {pair}").parse().unwrap());
        assert!(browsers.read(&request, now()).is_empty());
    }

    proptest! {
        #[test]
        fn no_altered_or_invented_value_is_believed(
            at in 0_usize..96, byte in any::<u8>(), value in proptest::collection::vec(any::<u8>(), 0..300)
        ) {
            let browsers = browsers(&[1]);
            prop_assert!(browsers.check(&value, now()).is_none());
            let cookie = browsers.cookie(&asking(), user(1), now()).unwrap();
            let text = cookie.to_str().unwrap();
            let mut altered = text["__Host-portcullis-known=".len()..].split(';').next().unwrap().as_bytes().to_vec();
            prop_assume!(altered[at] != byte);
            altered[at] = byte;
            prop_assert!(browsers.check(&altered, now()).is_none());
        }
    }
}
