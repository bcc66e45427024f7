//! How often something may be tried.

use super::Key;
use super::Kind;
use super::Table;
use super::UNLIMITED;
use crate::config::shape;

const RATE: Kind = Kind::Either(&UNLIMITED, &Kind::One(&shape::RATE));

pub(super) static THROTTLE: Table = Table {
    says: "How often something may be tried, counted across all instances: \"10/10m\" is ten times at once, then once a \
           minute. Nobody waits longer than that, so nobody is locked out for good. A right password is not counted.",
    keys: &[
        Key::new(
            "account",
            RATE,
            "Passwords for one user, by name or e-mail address, and for a name that is nobody's; from browsers in which \
             the user did not sign in before.",
        )
        .default("\"10/10m\""),
        Key::new(
            "address",
            RATE,
            "Passwords from one IPv4 address or IPv6 network of 64 bits, from such browsers. More than one user's, \
             because a whole office may have one address; behind a proxy that is not in trust.proxies everybody has.",
        )
        .default("\"100/10m\""),
        Key::new(
            "browser",
            RATE,
            "Passwords for a user from a browser in which they signed in before, whatever strangers do meanwhile.",
        )
        .default("\"20/10m\""),
        Key::new("registration", RATE, "Registrations from one address.").default("\"10/1h\""),
        Key::new("token", RATE, "Wrong tokens of administrators from one address.").default("\"20/10m\""),
    ],
};
