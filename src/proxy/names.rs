//! The header names that we know: who somebody is, which way a request came, what belongs to one connection.

/// Identity headers of every preset and product that we know, and names that applications take for them, in canonical
/// form. Nothing but an identity may write them: `config` refuses fixed headers of these names.
pub const IDENTITY: &[&str] = &[
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
    "x-remote-user",
    "x-remote-group",
    "x-remote-groups",
    "x-remote-email",
    "x-webauth-user",
    "x-webauth-name",
    "x-webauth-email",
    "x-webauth-fullname",
    "x-webauth-role",
    "x-webauth-groups",
    "x-forwarded-mail",
    "x-forwarded-displayname",
    "x-proxy-user",
    "x-proxy-roles",
    "x-user",
    "x-role",
    "x-first-name",
    "x-last-name",
    "x-email",
    "x-username",
    "x-auth-user",
    "x-authenticated-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-preferred-username",
    "x-authentik-username",
    "x-authentik-groups",
    "x-authentik-email",
    "x-authentik-name",
    "x-authentik-uid",
    "x-jwt-assertion",
    "x-pomerium-jwt-assertion",
    "x-goog-iap-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-goog-authenticated-user-id",
    "cf-access-jwt-assertion",
    "cf-access-authenticated-user-email",
];

/// Credentials of operators, which no application may see or get from a client.
pub const OPERATORS: &[&str] = &["x-admin-token"];

/// Names about the way a request came; the gateway writes its own.
pub const FORWARDED: &[&str] = &[
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-rewrite-url",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "proxy",
    "x-request-id",
];

/// Whole families.
pub const PREFIXES: &[&str] = &["x-portcullis-", "x-forwarded-", "x-original-", "x-ssl-", "ssl-client-"];

/// Framing under another spelling: an application that folds names would read a body of another length than we sent.
pub const SPELLED_FRAMING: &[&str] = &["content-length", "transfer-encoding"];

/// Hop-by-hop names (RFC 9110, 7.6.1; RFC 2616, 13.5.1) in the form that `http` keeps them.
#[must_use]
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "upgrade"
            | "expect"
    )
}
