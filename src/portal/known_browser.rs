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
const ENTRY: usize = USER + ID + TIME;
const TAG: usize = 32;

/// The names of the cookie by which a browser is known. They concern nobody behind the gateway.
pub(super) const NAMES: [&str; 2] = [SECURE_COOKIE, PLAIN_COOKIE];

/// Knows browsers again in which somebody signed in: base64url of the key of each user, with an id and the time of their
/// last log-in there, and an HMAC over all. It signs nobody in; attempts from such a browser are counted for themselves, and
/// it is no new device.
pub(super) struct KnownBrowsers {
    keys: Vec<Key>,
}

/// One user of a browser, and when they last signed in there, in seconds.
struct Known {
    browser: KnownBrowser,
    at: i64,
}

impl Known {
    fn read(entry: &[u8; ENTRY]) -> Option<Self> {
        let (user, rest) = entry.split_first_chunk::<USER>()?;
        let (id, at) = rest.split_first_chunk::<ID>()?;
        Some(Self {
            browser: KnownBrowser {
                user: UserId(Uuid::from_bytes(*user)),
                id: *id,
            },
            at: i64::from_be_bytes(at.try_into().ok()?),
        })
    }

    fn write(&self) -> Vec<u8> {
        let KnownBrowser { user, id } = &self.browser;
        [&user.0.as_bytes()[..], &id[..], &self.at.to_be_bytes()[..]].concat()
    }

    fn is_timely(&self, now: Timestamp) -> bool {
        let at = Timestamp::from_micros(self.at.saturating_mul(1_000_000));
        at <= now.plus(SKEW) && now.since(at) <= LIFE
    }
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
            .filter_map(|value| self.check(value))
            .flatten()
            .filter(|known| known.is_timely(now))
            .map(|known| known.browser)
            .collect()
    }

    fn check(&self, value: &[u8]) -> Option<Vec<Known>> {
        const LONGEST: usize = (MOST_USERS * ENTRY + TAG).div_ceil(3) * 4;
        if value.len() > LONGEST {
            return None;
        }
        let raw = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (said, tag) = raw.split_at_checked(raw.len().checked_sub(TAG)?)?;
        if !self.keys.iter().any(|key| hmac::verify(key, said, tag).is_ok()) {
            return None;
        }
        let (entries, rest) = said.as_chunks::<ENTRY>();
        rest.is_empty()
            .then(|| entries.iter().filter_map(Known::read).collect())
    }

    /// The cookie by which the browser behind `exchange` is known from here on, to `user` and to who was known there
    /// before. Only `user` gets a new id, so that nobody can follow them by it: attempts for the others are counted by
    /// theirs, and a stranger's log-in in the same browser would begin that count anew. `None` without randomness.
    pub(super) fn cookie(&self, exchange: &Exchange, user: UserId, now: Timestamp) -> Option<HeaderValue> {
        let mut id = [0; ID];
        getrandom::fill(&mut id).ok()?;
        let mut users = vec![Known {
            browser: KnownBrowser { user, id },
            at: now.as_seconds(),
        }];
        let values = cookie_values(&exchange.headers, cookie_name(exchange)).take(MOST_COOKIES);
        for known in values.filter_map(|value| self.check(value)).flatten() {
            let is_new = users.iter().all(|other| other.browser.user != known.browser.user);
            if users.len() < MOST_USERS && is_new && known.is_timely(now) {
                users.push(known);
            }
        }
        let mut said: Vec<u8> = users.iter().flat_map(Known::write).collect();
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

    fn users(known: &[KnownBrowser]) -> Vec<UserId> {
        known.iter().map(|browser| browser.user).collect()
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
        assert_eq!(users(&known), [user(1)]);
        let again = browsers.cookie(&with(&first), user(1), now()).unwrap();
        let again = browsers.read(&with(&again), now());
        assert_eq!(users(&again), [user(1)]);
        assert_ne!(again[0].id, known[0].id, "each log-in gives a new id");
    }

    /// Attempts are counted by the id: whoever has an account could else begin the count of somebody else anew at will.
    #[test]
    fn a_log_in_changes_nothing_of_what_the_browser_is_to_others() {
        let browsers = browsers(&[1]);
        let first = browsers.cookie(&asking(), user(1), now()).unwrap();
        let known = browsers.read(&with(&first), now());
        let later = now().plus(LIFE);
        let second = browsers.cookie(&with(&first), user(2), later).unwrap();
        let both = browsers.read(&with(&second), later);
        assert_eq!(users(&both), [user(2), user(1)]);
        assert_eq!(both[1], known[0]);
        assert_ne!(both[0].id, both[1].id);
        let over = browsers.read(&with(&second), later.plus(Duration::from_secs(1)));
        assert_eq!(users(&over), [user(2)], "nor does it make them known for longer");
    }

    #[test]
    fn the_last_four_users_are_kept() {
        let browsers = browsers(&[1]);
        let mut request = asking();
        for number in [1, 2, 3, 4, 5, 3] {
            request = with(&browsers.cookie(&request, user(number), now()).unwrap());
        }
        let known = browsers.read(&request, now());
        assert_eq!(users(&known), [user(3), user(5), user(4), user(2)]);
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
            prop_assert!(browsers.check(&value).is_none());
            let cookie = browsers.cookie(&asking(), user(1), now()).unwrap();
            let text = cookie.to_str().unwrap();
            let mut altered = text["__Host-portcullis-known=".len()..].split(';').next().unwrap().as_bytes().to_vec();
            prop_assume!(altered[at] != byte);
            altered[at] = byte;
            prop_assert!(browsers.check(&altered).is_none());
        }
    }
}
