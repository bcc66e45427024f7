use cookie::Cookie;
use cookie::time::OffsetDateTime;
use std::time::Duration;

/// The session cookie's name and attributes.
#[derive(Clone, Debug)]
pub struct CookieSettings {
    /// Name; `__Host-` and `__Secure-` prefixes are checked by config.
    pub name: String,
    /// `Domain` candidates; empty for a host-only cookie. The one that covers the host is used.
    pub domains: Vec<String>,
    /// `Secure`.
    pub secure: Secure,
    /// `SameSite`.
    pub same_site: SameSite,
    /// In front of the value, as in `aiq_`.
    pub token_prefix: String,
}

/// When `Secure` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    /// Always.
    Always,
    /// On https only; http and https are served side by side.
    Auto,
}

/// RFC 6265bis, 5.6.7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent on top-level navigations from elsewhere.
    Lax,
    /// Never sent from elsewhere.
    Strict,
    /// Always sent; needs `Secure`.
    None,
}

impl Secure {
    /// The word for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Auto => "auto",
        }
    }
}

impl SameSite {
    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lax => "lax",
            Self::Strict => "strict",
            Self::None => "none",
        }
    }
}

impl From<SameSite> for cookie::SameSite {
    fn from(same_site: SameSite) -> Self {
        match same_site {
            SameSite::Lax => Self::Lax,
            SameSite::Strict => Self::Strict,
            SameSite::None => Self::None,
        }
    }
}

impl CookieSettings {
    /// The `Set-Cookie` value that gives `value` to a browser on `host` for `max_age`, rounded up to whole seconds: no
    /// browser drops it before its session ends. A secret when `value` is one.
    #[must_use]
    pub fn set(&self, value: &str, host: &str, https: bool, max_age: Duration) -> String {
        let mut cookie = self.bare(value, https);
        let seconds = max_age.as_secs().saturating_add(u64::from(max_age.subsec_nanos() > 0));
        cookie.set_max_age(cookie::time::Duration::seconds(
            i64::try_from(seconds).unwrap_or(i64::MAX),
        ));
        if let Some(domain) = self.covering(host).max_by_key(|domain| domain.len()) {
            cookie.set_domain(domain.to_owned());
        }
        cookie.to_string()
    }

    /// The `Set-Cookie` values that take our cookie from a browser on `host`, host-only and every domain form.
    #[must_use]
    pub fn clear(&self, host: &str, https: bool) -> Vec<String> {
        let mut cookie = self.bare("", https);
        cookie.set_max_age(cookie::time::Duration::ZERO);
        cookie.set_expires(OffsetDateTime::UNIX_EPOCH);
        let mut lines = vec![cookie.to_string()];
        for domain in self.covering(host) {
            cookie.set_domain(domain.to_owned());
            lines.push(cookie.to_string());
        }
        lines
    }

    /// Whether a browser on `host` brings the cookie along to `other` as well.
    #[must_use]
    pub fn reaches(&self, host: &str, other: &str) -> bool {
        let domain = self.covering(host).max_by_key(|domain| domain.len());
        host == other || domain.is_some_and(|domain| self.covering(other).any(|covers| covers == domain))
    }

    fn bare<'a>(&'a self, value: &'a str, https: bool) -> Cookie<'a> {
        Cookie::build((self.name.as_str(), value))
            .path("/")
            .secure(self.secure == Secure::Always || https)
            .http_only(true)
            .same_site(self.same_site.into())
            .build()
    }

    /// Domains that a browser on `host` accepts (RFC 6265bis, 5.1.3): the host itself or a parent, never for an address.
    fn covering<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a str> {
        let literal = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
        let covers = move |domain: &&str| {
            let (host, domain) = (host.as_bytes(), domain.as_bytes());
            !literal
                && match host.len().checked_sub(domain.len()) {
                    Some(0) => host.eq_ignore_ascii_case(domain),
                    Some(more) => host[more - 1] == b'.' && host[more..].eq_ignore_ascii_case(domain),
                    None => false,
                }
        };
        self.domains.iter().map(String::as_str).filter(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, domains: &[&str]) -> CookieSettings {
        CookieSettings {
            name: name.to_owned(),
            domains: domains.iter().map(ToString::to_string).collect(),
            secure: Secure::Always,
            same_site: SameSite::Lax,
            token_prefix: String::new(),
        }
    }

    fn attributes(line: &str) -> Vec<&str> {
        line.split("; ").collect()
    }

    #[test]
    fn the_default_cookie_is_host_only_secure_and_out_of_scripts_reach() {
        let line = settings("__Host-portcullis", &[]).set("v", "crm.example.com", true, Duration::from_mins(1));
        let mut found = attributes(&line);
        assert_eq!(found.remove(0), "__Host-portcullis=v");
        found.sort_unstable();
        assert_eq!(found, ["HttpOnly", "Max-Age=60", "Path=/", "SameSite=Lax", "Secure"]);
    }

    #[test]
    fn the_longest_domain_that_covers_the_host_is_used() {
        let settings = settings("s", &["example.com", "crm.example.com", "other.org"]);
        let domain = |host| {
            let line = settings.set("v", host, true, Duration::from_secs(1));
            line.split("; ")
                .find_map(|part| part.strip_prefix("Domain=").map(str::to_owned))
        };
        assert_eq!(domain("a.crm.example.com").as_deref(), Some("crm.example.com"));
        assert_eq!(domain("crm.example.com").as_deref(), Some("crm.example.com"));
        assert_eq!(domain("www.example.com").as_deref(), Some("example.com"));
        assert_eq!(domain("badexample.com"), None);
        assert_eq!(domain("com"), None);
        assert_eq!(domain("127.0.0.1"), None);
    }

    #[test]
    fn clearing_takes_the_host_only_form_and_every_domain_form() {
        let lines = settings("s", &["example.com", "crm.example.com", "other.org"]).clear("crm.example.com", true);
        assert_eq!(lines.len(), 3);
        for line in &lines {
            let found = attributes(line);
            assert!(
                found.contains(&"Max-Age=0") && found.contains(&"Secure") && found.contains(&"Path=/"),
                "{line}"
            );
            assert!(line.contains("Expires=Thu, 01 Jan 1970 00:00:00 GMT"), "{line}");
        }
        assert!(!lines[0].contains("Domain"));
        assert!(lines[1].contains("Domain=example.com"));
        assert!(lines[2].contains("Domain=crm.example.com"));
    }

    #[test]
    fn auto_is_secure_on_https_only_and_always_is_always() {
        let mut settings = settings("s", &[]);
        settings.same_site = SameSite::Strict;
        assert!(settings.set("v", "h", false, Duration::ZERO).contains("Secure"));
        settings.secure = Secure::Auto;
        assert!(!settings.set("v", "h", false, Duration::ZERO).contains("Secure"));
        let line = settings.set("v", "h", true, Duration::ZERO);
        assert!(line.contains("Secure") && line.contains("SameSite=Strict"));
    }

    #[test]
    fn a_cookie_never_ends_before_its_session() {
        let line = |life| settings("s", &[]).set("v", "h", true, life);
        assert!(line(Duration::from_millis(59_001)).contains("Max-Age=60"));
        assert!(line(Duration::from_mins(1)).contains("Max-Age=60"));
    }

    #[test]
    fn same_site_none_is_written_out() {
        let mut settings = settings("s", &[]);
        settings.same_site = SameSite::None;
        assert!(settings.set("v", "h", true, Duration::ZERO).contains("SameSite=None"));
    }
}
