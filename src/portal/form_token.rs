use crate::model::Timestamp;
use crate::web::Exchange;
use crate::web::Scheme;
use crate::web::cookie_values;
use aws_lc_rs::hmac::{self, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use std::time::Duration;

/// How long a form may stay open.
const LIFE: Duration = Duration::from_hours(2);
/// How far another instance's clock may be ahead.
const SKEW: Duration = Duration::from_mins(1);
/// Most cookies of our name that are tried; a neighbouring host can plant more.
const MOST_COOKIES: usize = 4;

const SECURE_COOKIE: &str = "__Host-portcullis-form";
const PLAIN_COOKIE: &str = "portcullis-form";

type Nonce = [u8; 16];

/// The names of the cookie that ties a form to the browser it was shown in. They concern nobody behind the gateway.
pub(super) const NAMES: [&str; 2] = [SECURE_COOKIE, PLAIN_COOKIE];

/// Ties forms to the browser that they were shown in: the cookie holds a nonce, the form an HMAC over that nonce, the host
/// and the time. Nothing is kept here, so every instance with the same secrets takes every form.
pub(super) struct Forms {
    keys: Vec<Key>,
}

/// A token for one page, with the cookie it needs if the browser has none.
pub(super) struct Issued {
    pub token: String,
    pub cookie: Option<HeaderValue>,
}

impl Forms {
    /// The first of `keys` makes tokens, all of them verify.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        Self { keys }
    }

    /// A token for a form shown in answer to `exchange`. The browser's nonce is kept, so that forms in several tabs stay
    /// good. Fails when the operating system gives no randomness.
    pub(super) fn issue(&self, exchange: &Exchange, now: Timestamp) -> Result<Issued, getrandom::Error> {
        let (nonce, fresh) = match nonces(exchange).next() {
            Some(nonce) => (nonce, false),
            None => (random()?, true),
        };
        let issued = now.as_seconds().to_be_bytes();
        let mut token = issued.to_vec();
        if let Some(key) = self.keys.first() {
            token.extend_from_slice(hmac::sign(key, &message(&nonce, issued, &exchange.host)).as_ref());
        }
        Ok(Issued {
            token: URL_SAFE_NO_PAD.encode(token),
            cookie: fresh.then(|| cookie(exchange, nonce)).flatten(),
        })
    }

    /// Whether `token` was made here for this browser and host, and lately.
    pub(super) fn accepts(&self, exchange: &Exchange, token: &str, now: Timestamp) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        let Some((issued, tag)) = token.split_first_chunk::<8>() else {
            return false;
        };
        let at = Timestamp::from_micros(i64::from_be_bytes(*issued).saturating_mul(1_000_000));
        let timely = at <= now.plus(SKEW) && now.since(at) <= LIFE;
        timely
            && nonces(exchange).take(MOST_COOKIES).any(|nonce| {
                let message = message(&nonce, *issued, &exchange.host);
                self.keys.iter().any(|key| hmac::verify(key, &message, tag).is_ok())
            })
    }
}

/// Nonce and time have fixed lengths, so that no two triples give one message.
fn message(nonce: &Nonce, issued: [u8; 8], host: &str) -> Vec<u8> {
    [&nonce[..], &issued[..], host.as_bytes()].concat()
}

fn nonces(exchange: &Exchange) -> impl Iterator<Item = Nonce> {
    cookie_values(&exchange.headers, cookie_name(exchange))
        .filter_map(|value| URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok())
}

const fn cookie_name(exchange: &Exchange) -> &'static str {
    match exchange.scheme {
        Scheme::Https => SECURE_COOKIE,
        Scheme::Http => PLAIN_COOKIE,
    }
}

/// `Lax`, because the page often comes at the end of a redirect from elsewhere and its own POST must still carry it.
fn cookie(exchange: &Exchange, nonce: Nonce) -> Option<HeaderValue> {
    let name = cookie_name(exchange);
    let value = URL_SAFE_NO_PAD.encode(nonce);
    let suffix = cookie_suffix(exchange.scheme);
    let mut header = HeaderValue::try_from(format!("{name}={value}; {suffix}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The `Set-Cookie` value that takes the nonce from the browser; forms that are open in it are stale from then on.
pub(super) const fn clearing(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Https => "__Host-portcullis-form=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0",
        Scheme::Http => "portcullis-form=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0",
    }
}

/// The attributes of our cookies besides the session's.
pub(super) const fn cookie_suffix(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Https => "Path=/; HttpOnly; SameSite=Lax; Secure",
        Scheme::Http => "Path=/; HttpOnly; SameSite=Lax",
    }
}

fn random() -> Result<Nonce, getrandom::Error> {
    let mut nonce = Nonce::default();
    getrandom::fill(&mut nonce)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::super::testing::exchange;
    use super::{Forms, Issued};
    use crate::model::Timestamp;
    use crate::web::Exchange;
    use aws_lc_rs::hmac::{HMAC_SHA256, Key};
    use http::Method;
    use http::header::COOKIE;
    use std::time::Duration;

    fn forms(secrets: &[u8]) -> Forms {
        Forms::new(secrets.iter().map(|byte| Key::new(HMAC_SHA256, &[*byte; 32])).collect())
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_769_860_800_000_000)
    }

    fn with_cookie(issued: &Issued) -> Exchange {
        let cookie = issued.cookie.as_ref().unwrap().to_str().unwrap();
        let pair = cookie.split(';').next().unwrap();
        let mut posted = exchange(Method::POST, "/.portcullis/login");
        posted.headers.insert(COOKIE, pair.parse().unwrap());
        posted
    }

    fn shown() -> (Forms, Issued, Exchange) {
        let forms = forms(&[1]);
        let issued = forms
            .issue(&exchange(Method::GET, "/.portcullis/login"), now())
            .unwrap();
        let posted = with_cookie(&issued);
        (forms, issued, posted)
    }

    #[test]
    fn a_form_comes_back_from_the_browser_that_it_was_shown_in() {
        let (forms, issued, posted) = shown();
        assert!(forms.accepts(&posted, &issued.token, now()));
        assert!(forms.accepts(&posted, &issued.token, now().plus(Duration::from_hours(2))));
    }

    #[test]
    fn a_form_from_another_browser_is_refused() {
        let (forms, issued, _) = shown();
        let (_, _, other) = shown();
        assert!(!forms.accepts(&other, &issued.token, now()));
        assert!(!forms.accepts(&exchange(Method::POST, "/.portcullis/login"), &issued.token, now()));
    }

    #[test]
    fn a_form_of_another_host_is_refused() {
        let (forms, issued, mut posted) = shown();
        posted.host = "other.example.com".into();
        assert!(!forms.accepts(&posted, &issued.token, now()));
    }

    #[test]
    fn a_form_is_stale_after_two_hours_and_never_from_the_future() {
        let (forms, issued, posted) = shown();
        assert!(!forms.accepts(&posted, &issued.token, now().plus(Duration::from_secs(7201))));
        assert!(!forms.accepts(&posted, &issued.token, now().minus(Duration::from_secs(61))));
    }

    #[test]
    fn a_changed_or_empty_token_is_refused() {
        let (forms, issued, posted) = shown();
        let mut changed = issued.token.clone().into_bytes();
        changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
        for token in ["", "AAAA", "!", std::str::from_utf8(&changed).unwrap()] {
            assert!(!forms.accepts(&posted, token, now()), "{token}");
        }
    }

    #[test]
    fn a_form_signed_by_a_retired_secret_is_still_taken_while_it_is_listed() {
        let (_, issued, posted) = shown();
        assert!(forms(&[2, 1]).accepts(&posted, &issued.token, now()));
        assert!(!forms(&[2]).accepts(&posted, &issued.token, now()));
    }

    #[test]
    fn forms_in_two_tabs_share_one_cookie() {
        let (forms, first, posted) = shown();
        let second = forms.issue(&posted, now()).unwrap();
        assert!(second.cookie.is_none());
        assert!(forms.accepts(&posted, &first.token, now()) && forms.accepts(&posted, &second.token, now()));
    }

    #[test]
    fn the_cookie_is_for_this_host_only_and_no_script_reads_it() {
        let (_, issued, _) = shown();
        let cookie = issued.cookie.unwrap();
        assert!(cookie.is_sensitive());
        let cookie = cookie.to_str().unwrap();
        assert!(cookie.starts_with("__Host-portcullis-form="), "{cookie}");
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    }
}
