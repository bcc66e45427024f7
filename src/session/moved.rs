//! Sessions that an application kept once and the gateway keeps now, whose browsers still have the application's cookie.
//!
//! The copy is a session of ours like any other, but for its key: a keyed digest of the row's key in the place of a token's
//! digest. Who has our database cannot make a cookie of it, and no cookie of ours can name it.

use super::Entry;
use super::Identified;
use super::Live;
use super::Sessions;
use super::Settings;
use super::among::Accepted;
use super::source::SourceSettings;
use super::token;
use super::token::Named;
use aws_lc_rs::hmac;
use std::time::Duration;

/// Under which keys of copies are derived from the session secrets.
pub(super) const LABEL: &str = "copies of sessions";

/// The sources that have moved.
pub(super) struct Moved {
    sources: Vec<SourceSettings>,
    keys: Vec<hmac::Key>,
}

impl Moved {
    pub(super) fn new(settings: &Settings) -> Self {
        let moved = settings.sources.iter().filter(|source| source.moved);
        let sources: Vec<SourceSettings> = moved.cloned().collect();
        let keys = match sources.as_slice() {
            [] => Vec::new(),
            _ => token::derive(&settings.secrets, LABEL),
        };
        Self { sources, keys }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.sources.iter().any(|source| source.name == name)
    }

    /// The sessions that the cookies of a request to `host` name; of the sources that `accepts` only.
    fn named(
        &self,
        host: &str,
        cookies: &[(&[u8], &[u8])],
        now: impl FnOnce() -> i64,
        accepts: impl Fn(&SourceSettings) -> bool,
    ) -> Named {
        let mut named = Named::nobody();
        let of_host = self.sources.iter().filter(|source| source.serves(host));
        let mut accepted = of_host.filter(|source| accepts(source)).peekable();
        if accepted.peek().is_none() {
            return named;
        }
        let now = now();
        for source in accepted {
            if let Some((_, key)) = source.named(cookies, now) {
                let secret = key.verify.as_ref().map(|(_, secret)| secret.as_slice());
                for mac in &self.keys {
                    named.add(source.copy_digest(mac, &key.text, secret));
                }
            }
        }
        named
    }
}

impl Sessions {
    /// As [`Sessions::identify`], heeding on `host` also the cookies of applications whose sessions were moved over.
    /// `cookies` are all of the request, with their names.
    pub async fn identify_on(
        &self,
        host: &str,
        values: &[&[u8]],
        cookies: &[(&[u8], &[u8])],
        grace: Duration,
    ) -> Identified {
        self.ask(&self.named_on(host, values, cookies), grace).await
    }

    /// As [`Sessions::every`], likewise.
    pub async fn every_on(&self, host: &str, values: &[&[u8]], cookies: &[(&[u8], &[u8])]) -> Option<Vec<Live>> {
        self.all_of(&self.named_on(host, values, cookies)).await
    }

    fn named_on(&self, host: &str, values: &[&[u8]], cookies: &[(&[u8], &[u8])]) -> Named {
        let mut named = self.tokens.read(values);
        named.add_all(&self.moved.named(host, cookies, || self.seconds(), |_| true));
        named
    }

    /// Whom to ask for, in this order, where a route accepts what `accepted` says. Sessions that are asked for together and
    /// are of two users contradict each other.
    pub(super) fn named_among(
        &self,
        accepted: &Accepted,
        host: &str,
        values: &[&[u8]],
        cookies: &[(&[u8], &[u8])],
    ) -> [Named; 2] {
        let mut ours = if accepted.native {
            self.tokens.read(values)
        } else {
            Named::nobody()
        };
        let accepts = |source: &SourceSettings| accepted.sources.contains(&source.name);
        let moved = self.moved.named(host, cookies, || self.seconds(), accepts);
        if accepted.first_wins {
            return [ours, moved];
        }
        ours.add_all(&moved);
        [ours, Named::nobody()]
    }

    /// The `Set-Cookie` values that take our cookie from a browser on `host`, and those of applications whose sessions were
    /// moved over.
    #[must_use]
    pub fn clear_cookies(&self, host: &str, https: bool) -> Vec<String> {
        let mut lines = self.cookie().clear(host, https);
        lines.extend(self.clear_moved(host, https));
        lines
    }

    /// The same for the applications' alone: host-only, and for the host and every domain above it, because how the
    /// application set its cookie is not known.
    #[must_use]
    pub fn clear_moved(&self, host: &str, https: bool) -> Vec<String> {
        let of_host = self.moved.sources.iter().filter(|source| source.serves(host));
        let names = of_host.flat_map(|source| &source.mapping.cookies);
        names.flat_map(|name| cleared(name, host, https)).collect()
    }

    /// Cookies that name a request's session, where it is a copy, and that an application on `host` must not set in its answer to
    /// `path`: one that lost its table gives every visitor a new one, which would sign the holder out. Its log-out may.
    #[must_use]
    pub fn held_cookies(&self, entry: Option<&Entry>, host: &str, path: &str) -> Vec<String> {
        // A log-in here says how it was proven.
        let is_copy = |entry: &Entry| entry.source.is_none() && entry.session.methods.is_empty();
        if self.moved.sources.is_empty() || !entry.is_some_and(is_copy) {
            return Vec::new();
        }
        let of_host = self.moved.sources.iter().filter(|source| source.serves(host));
        let held = of_host.filter(|source| !source.logout_paths.iter().any(|known| known == path));
        held.flat_map(|source| source.mapping.cookies.clone()).collect()
    }

    /// Whether a request to `host` brings a cookie with one of these names, whatever it is worth.
    pub fn brings_moved<'a>(&self, host: &str, mut names: impl Iterator<Item = &'a [u8]>) -> bool {
        let of_host = || self.moved.sources.iter().filter(|source| source.serves(host));
        let is_moved = |name: &[u8]| {
            let mut known = of_host().flat_map(|source| &source.mapping.cookies);
            known.any(|known| known.as_bytes() == name)
        };
        !self.moved.sources.is_empty() && names.any(is_moved)
    }

    fn seconds(&self) -> i64 {
        self.cache.time.clock().now().as_seconds()
    }
}

/// Domains above a host that are tried; names with more labels are rare.
const MOST_DOMAINS: usize = 4;

fn cleared(name: &str, host: &str, https: bool) -> Vec<String> {
    let bare = |domain: Option<&str>| {
        let mut cookie = cookie::Cookie::build((name, ""))
            .path("/")
            .secure(https || name.starts_with("__"))
            .http_only(true)
            .max_age(cookie::time::Duration::ZERO)
            .expires(cookie::time::OffsetDateTime::UNIX_EPOCH)
            .build();
        if let Some(domain) = domain {
            cookie.set_domain(domain.to_owned());
        }
        cookie.to_string()
    };
    let mut lines = vec![bare(None)];
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    if name.starts_with("__Host-") || is_address {
        return lines;
    }
    let mut domain = host;
    while domain.contains('.') && lines.len() <= MOST_DOMAINS {
        lines.push(bare(Some(domain)));
        domain = domain.split_once('.').map_or("", |(_, above)| above);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::cleared;

    #[test]
    fn a_cookie_is_cleared_for_its_host_and_every_domain_above_it() {
        let lines = cleared("connect.sid", "crm.example.com", true);
        let domains: Vec<_> = lines
            .iter()
            .map(|line| line.split("; Domain=").nth(1).and_then(|rest| rest.split(';').next()))
            .collect();
        assert_eq!(domains, [None, Some("crm.example.com"), Some("example.com")]);
        assert!(
            lines
                .iter()
                .all(|line| line.contains("Max-Age=0") && line.contains("; Secure"))
        );
        assert_eq!(cleared("__Host-sid", "crm.example.com", true).len(), 1);
        assert_eq!(cleared("sid", "127.0.0.1", false).len(), 1);
        assert_eq!(cleared("sid", "a.b.c.d.e.f.example.com", false).len(), 5);
    }
}
