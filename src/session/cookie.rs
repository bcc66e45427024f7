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

#[expect(clippy::todo, reason = "skeleton")]
impl CookieSettings {
    /// The `Set-Cookie` value that gives `value` to a browser on `host` for `max_age`.
    #[must_use]
    pub fn set(&self, value: &str, host: &str, https: bool, max_age: Duration) -> String {
        let _ = (value, host, https, max_age);
        todo!()
    }
    /// The `Set-Cookie` values that take our cookie from a browser on `host`, host-only and every domain form.
    #[must_use]
    pub fn clear(&self, host: &str, https: bool) -> Vec<String> {
        let _ = (host, https);
        todo!()
    }
}
