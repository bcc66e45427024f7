//! Log-ins that do not hold: a browser that drops the session's cookie comes back to the log-in page each time, and
//! whatever fills in its form for the visitor would go round for ever.
//!
//! Nothing is kept here. A cookie of its own, signed and ten seconds old at most, tells when this browser last signed in
//! and was not signed in.

use super::form_token::cookie_suffix;
use crate::model::Timestamp;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::cookie_values;
use aws_lc_rs::hmac::{self, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use std::time::Duration;

/// Log-ins further apart than this are no circle.
const WITHIN: Duration = Duration::from_secs(10);
/// Log-ins before this one that did not hold: the third in a row is the last.
const EARLIER: usize = 2;
/// Most cookies of the name that are tried; a neighbouring host can plant more.
const MOST_COOKIES: usize = 4;
const TAG: usize = 16;

const SECURE_COOKIE: &str = "__Host-portcullis-trips";
const PLAIN_COOKIE: &str = "portcullis-trips";

/// The names of our cookie. They concern nobody behind the gateway.
pub(super) const NAMES: [&str; 2] = [SECURE_COOKIE, PLAIN_COOKIE];

/// Makes and reads the cookie.
pub(super) struct Trips {
    keys: Vec<Key>,
}

/// The log-ins of one browser a moment ago, the newest last; at most [`EARLIER`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Before(Vec<i64>);

impl Before {
    /// Whether one more would be the third.
    pub(super) fn are_many(&self) -> bool {
        self.0.len() >= EARLIER
    }
}

impl Trips {
    /// The first of `keys` signs, all verify.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// What the browser's cookie tells; nothing where it has none, an older one, or one that we did not sign for this host.
    pub(super) fn of(&self, exchange: &Exchange, now: Timestamp) -> Before {
        let read = cookie_values(&exchange.headers, cookie_name(exchange))
            .take(MOST_COOKIES)
            .find_map(|value| self.read(value, &exchange.host));
        let now = now.as_seconds();
        let oldest = now - i64::try_from(WITHIN.as_secs()).unwrap_or_default();
        let mut times = read.unwrap_or_default();
        times.retain(|at| (oldest..=now).contains(at));
        Before(times)
    }

    fn read(&self, value: &[u8], host: &str) -> Option<Vec<i64>> {
        // Two times and a tag: nothing longer is decoded.
        if value.len() > 4 * (EARLIER * 8 + TAG).div_ceil(3) {
            return None;
        }
        let raw = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (times, tag) = raw.split_at_checked(raw.len().checked_sub(TAG)?)?;
        let signed = |key: &Key| {
            let expected = hmac::sign(key, &message(times, host));
            aws_lc_rs::constant_time::verify_slices_are_equal(&expected.as_ref()[..TAG], tag).is_ok()
        };
        if !self.keys.iter().any(signed) {
            return None;
        }
        let (times, []) = times.as_chunks::<8>() else {
            return None;
        };
        Some(times.iter().map(|time| i64::from_be_bytes(*time)).collect())
    }

    /// The `Set-Cookie` that tells of one more at `now`.
    pub(super) fn one_more(&self, before: Before, exchange: &Exchange, now: Timestamp) -> Option<HeaderValue> {
        let mut times = before.0;
        times.push(now.as_seconds());
        let newest = times.len().saturating_sub(EARLIER);
        let mut raw: Vec<u8> = times[newest..].iter().flat_map(|time| time.to_be_bytes()).collect();
        let tag = hmac::sign(self.keys.first()?, &message(&raw, &exchange.host));
        raw.extend_from_slice(&tag.as_ref()[..TAG]);
        let value = URL_SAFE_NO_PAD.encode(raw);
        set(exchange, &value, WITHIN)
    }

    /// The `Set-Cookie` that takes it away, where there is one to take.
    pub(super) fn clear(exchange: &Exchange) -> Option<HeaderValue> {
        cookie_values(&exchange.headers, cookie_name(exchange)).next()?;
        set(exchange, "", Duration::ZERO)
    }
}

fn set(exchange: &Exchange, value: &str, age: Duration) -> Option<HeaderValue> {
    let (name, suffix) = (cookie_name(exchange), cookie_suffix(exchange.scheme));
    HeaderValue::try_from(format!("{name}={value}; Max-Age={}; {suffix}", age.as_secs())).ok()
}

/// Times come in whole eights of bytes, so that no two pairs give one message.
fn message(times: &[u8], host: &str) -> Vec<u8> {
    [&[u8::try_from(times.len()).unwrap_or(u8::MAX)], times, host.as_bytes()].concat()
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
    use super::{Before, Trips};
    use crate::model::Timestamp;
    use crate::web::Exchange;
    use aws_lc_rs::hmac::{HMAC_SHA256, Key};
    use http::Method;
    use http::header::COOKIE;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_000_000);

    fn trips(secret: u8) -> Trips {
        Trips::new(vec![Key::new(HMAC_SHA256, &[secret; 32])])
    }

    fn asks(cookie: &str) -> Exchange {
        let mut exchange = exchange(Method::POST, "/.portcullis/login");
        exchange.headers.insert(COOKIE, cookie.parse().unwrap());
        exchange
    }

    fn after(count: u64) -> String {
        let mut asked = exchange(Method::POST, "/.portcullis/login");
        let mut pair = String::new();
        for second in 0..count {
            let now = NOW.plus(Duration::from_secs(second));
            let line = trips(1).one_more(trips(1).of(&asked, now), &asked, now).unwrap();
            let line = line.to_str().unwrap();
            assert!(
                line.ends_with("Max-Age=10; Path=/; HttpOnly; SameSite=Lax; Secure"),
                "{line}"
            );
            pair = line.split(';').next().unwrap().to_owned();
            asked = asks(&pair);
        }
        pair
    }

    #[test]
    fn two_log_ins_a_moment_ago_are_many_and_one_is_not() {
        let now = NOW.plus(Duration::from_secs(2));
        assert!(!trips(1).of(&exchange(Method::POST, "/"), now).are_many());
        assert!(!trips(1).of(&asks(&after(1)), now).are_many());
        for count in [2, 3, 9] {
            let now = NOW.plus(Duration::from_secs(count));
            assert!(trips(1).of(&asks(&after(count)), now).are_many(), "{count}");
        }
    }

    #[test]
    fn what_is_older_than_ten_seconds_or_of_the_future_does_not_count() {
        let cookie = after(2);
        let at = |seconds| trips(1).of(&asks(&cookie), NOW.plus(Duration::from_secs(seconds)));
        assert!(at(10).are_many());
        assert!(!at(11).are_many());
        assert_eq!(at(12), Before::default());
        assert_eq!(
            trips(1).of(&asks(&cookie), NOW.minus(Duration::from_secs(5))),
            Before::default()
        );
    }

    #[test]
    fn nobody_else_can_make_one() {
        let now = NOW.plus(Duration::from_secs(2));
        let cookie = after(2);
        assert_eq!(trips(2).of(&asks(&cookie), now), Before::default(), "another secret");
        let mut elsewhere = asks(&cookie);
        elsewhere.host = "other.example.com".into();
        assert_eq!(trips(1).of(&elsewhere, now), Before::default(), "another host");
        let (name, value) = cookie.split_once('=').unwrap();
        for forged in [
            "",
            "A",
            "AAAA",
            &value[1..],
            &format!("{value}{value}"),
            &"A".repeat(5000),
        ] {
            assert_eq!(
                trips(1).of(&asks(&format!("{name}={forged}")), now),
                Before::default(),
                "{forged}"
            );
        }
    }
}
