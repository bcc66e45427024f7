//! What is known of the libraries that keep sessions in Postgres. Facts and vectors: the libraries' own code and rows.

use super::mapping::Duplicates;
use super::mapping::Mapping;
use super::mapping::Place;
use super::mapping::Touching;
use super::mapping::UsersMapping;
use super::payload::PayloadFormat;
use super::steps::Derive;
use super::steps::Encoding;
use super::steps::Hash;
use super::steps::Step;
use crate::store::Expiry;
use crate::store::Lifetime;
use crate::store::Unit;
use crate::store::Zone;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A library, and how it keeps sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// express-session with connect-pg-simple.
    Express,
    /// A table of one's own: the cookie is the key, the user is a column.
    PlainTable,
    /// Auth.js (`NextAuth`) with database sessions.
    AuthJs,
    /// better-auth.
    BetterAuth,
    /// Django's database sessions.
    Django,
    /// Flask-Session with `SQLAlchemy`.
    FlaskSession,
    /// Laravel's database sessions.
    Laravel,
    /// Rails with activerecord-session_store and its JSON serializer.
    Rails,
    /// Rails with the authentication that it generates since 8.
    Rails8,
    /// Spring Session JDBC.
    SpringSession,
    /// Lucia 3.
    Lucia,
    /// Lucia's guide since: the key is a hash of the cookie.
    LuciaHashed,
    /// Lucia's guide of today: `id.secret`, and a hash of the secret in the row.
    LuciaSecret,
    /// tower-sessions with its sqlx store.
    TowerSessions,
}

impl Preset {
    /// All, in the order of the documentation.
    pub const ALL: [Self; 14] = [
        Self::Express,
        Self::PlainTable,
        Self::AuthJs,
        Self::BetterAuth,
        Self::Django,
        Self::FlaskSession,
        Self::Laravel,
        Self::Rails,
        Self::Rails8,
        Self::SpringSession,
        Self::Lucia,
        Self::LuciaHashed,
        Self::LuciaSecret,
        Self::TowerSessions,
    ];

    /// The word in the configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Express => "express",
            Self::PlainTable => "plain-table",
            Self::AuthJs => "authjs",
            Self::BetterAuth => "better-auth",
            Self::Django => "django",
            Self::FlaskSession => "flask-session",
            Self::Laravel => "laravel",
            Self::Rails => "rails",
            Self::Rails8 => "rails8",
            Self::SpringSession => "spring-session",
            Self::Lucia => "lucia",
            Self::LuciaHashed => "lucia-hashed",
            Self::LuciaSecret => "lucia-secret",
            Self::TowerSessions => "tower-sessions",
        }
    }

    /// Whether the cookie's value is signed or encrypted, so that secrets are needed.
    #[must_use]
    pub fn needs_secrets(self) -> bool {
        matches!(
            self,
            Self::Express | Self::BetterAuth | Self::Django | Self::Laravel | Self::Rails8
        )
    }

    /// What it says; everything can be put otherwise.
    #[must_use]
    pub fn mapping(self) -> Mapping {
        match self {
            Self::Express => express(),
            Self::PlainTable => table("session", "sessions", "id", at("expires_at")),
            Self::AuthJs => authjs(),
            Self::BetterAuth => better_auth(),
            Self::Django => django(),
            Self::FlaskSession => flask_session(),
            Self::Laravel => laravel(),
            Self::Rails => rails(),
            Self::Rails8 => rails8(),
            Self::SpringSession => spring_session(),
            Self::Lucia => table("auth_session", "user_session", "id", at("expires_at")),
            Self::LuciaHashed => lucia_hashed(),
            Self::LuciaSecret => lucia_secret(),
            Self::TowerSessions => tower_sessions(),
        }
    }
}

fn at(column: &str) -> Expiry {
    Expiry::At {
        column: column.to_owned(),
        unit: Unit::Timestamp,
    }
}

fn column(name: &str) -> Vec<Place> {
    vec![Place::Column(name.to_owned())]
}

/// A row whose user is a column, and a cookie that is its key.
fn table(cookie: &str, table: &str, key: &str, expiry: Expiry) -> Mapping {
    Mapping {
        cookies: vec![cookie.to_owned()],
        duplicates: Duplicates::First,
        steps: vec![Step::PercentDecode],
        table: table.to_owned(),
        key: key.to_owned(),
        payload: None,
        expiry,
        zone: Zone::Utc,
        user: column("user_id"),
        email: Vec::new(),
        name: Vec::new(),
        groups: Vec::new(),
        users: None,
        require: Vec::new(),
        refuse: Vec::new(),
        touch: None,
        comes_back: false,
    }
}

fn signed(pad: bool) -> Step {
    Step::HmacVerify {
        hash: Hash::Sha256,
        encoding: Encoding::Standard { pad },
        separator: '.',
        derive: Derive::Nothing,
    }
}

fn express() -> Mapping {
    Mapping {
        steps: vec![Step::PercentDecode, Step::RequirePrefix("s:".to_owned()), signed(false)],
        payload: Some(("sess".to_owned(), PayloadFormat::Json)),
        zone: Zone::Session { role: None },
        user: Vec::new(),
        touch: Some(Touching::Payload("/cookie/originalMaxAge".to_owned(), DAY)),
        comes_back: true,
        ..table("connect.sid", "session", "sid", at("expire"))
    }
}

/// The secure name first: an application that changed to https may have left the other in the browser.
fn both_names(name: &str) -> Vec<String> {
    vec![format!("__Secure-{name}"), name.to_owned()]
}

fn authjs() -> Mapping {
    Mapping {
        cookies: both_names("authjs.session-token"),
        user: column("userId"),
        ..table("", "sessions", "sessionToken", at("expires"))
    }
}

fn better_auth() -> Mapping {
    Mapping {
        cookies: both_names("better-auth.session_token"),
        steps: vec![Step::PercentDecode, signed(true)],
        user: column("userId"),
        ..table("", "session", "token", at("expiresAt"))
    }
}

fn django() -> Mapping {
    Mapping {
        duplicates: Duplicates::Last,
        steps: Vec::new(),
        payload: Some(("session_data".to_owned(), PayloadFormat::DjangoSigned)),
        user: vec![Place::Payload("/_auth_user_id".to_owned())],
        users: Some(UsersMapping {
            table: "auth_user".to_owned(),
            key: "id".to_owned(),
            active: Some("is_active".to_owned()),
            password: Some("password".to_owned()),
        }),
        ..table("sessionid", "django_session", "session_key", at("expire_date"))
    }
}

fn flask_session() -> Mapping {
    Mapping {
        steps: vec![Step::AddPrefix("session:".to_owned())],
        payload: Some(("data".to_owned(), PayloadFormat::MessagePack)),
        user: Vec::new(),
        comes_back: true,
        ..table("session", "sessions", "session_id", at("expiry"))
    }
}

fn laravel() -> Mapping {
    Mapping {
        steps: vec![Step::PercentDecode, Step::LaravelDecrypt],
        ..table(
            "laravel_session",
            "sessions",
            "id",
            Expiry::After {
                column: "last_activity".to_owned(),
                unit: Unit::Seconds,
                lifetime: Lifetime::Fixed(2 * HOUR),
            },
        )
    }
}

fn rails() -> Mapping {
    Mapping {
        // Rack reads escapes in values.
        steps: vec![
            Step::PercentDecode,
            Step::RefuseVersioned,
            Step::HashHex {
                hash: Hash::Sha256,
                prefix: "2::".to_owned(),
            },
        ],
        payload: Some(("data".to_owned(), PayloadFormat::RailsJson)),
        user: Vec::new(),
        comes_back: true,
        ..table("_session_id", "sessions", "session_id", unlimited("updated_at"))
    }
}

fn rails8() -> Mapping {
    Mapping {
        steps: vec![Step::PercentDecode, Step::RailsSigned],
        ..table("session_id", "sessions", "id", unlimited("created_at"))
    }
}

fn lucia_hashed() -> Mapping {
    Mapping {
        steps: vec![Step::HashHex {
            hash: Hash::Sha256,
            prefix: String::new(),
        }],
        ..table("session", "user_session", "id", at("expires_at"))
    }
}

fn lucia_secret() -> Mapping {
    let day = Expiry::After {
        column: "created_at".to_owned(),
        unit: Unit::Timestamp,
        lifetime: Lifetime::Fixed(DAY),
    };
    Mapping {
        steps: vec![Step::verify("secret_hash")],
        ..table("session_token", "session", "id", day)
    }
}

/// The library knows no end; a gateway must.
fn unlimited(column: &str) -> Expiry {
    Expiry::After {
        column: column.to_owned(),
        unit: Unit::Timestamp,
        lifetime: Lifetime::Fixed(30 * DAY),
    }
}

fn spring_session() -> Mapping {
    Mapping {
        duplicates: Duplicates::Refused,
        steps: vec![Step::Base64Decode, Step::CutAfter('.')],
        user: column("principal_name"),
        ..table(
            "SESSION",
            "spring_session",
            "session_id",
            Expiry::After {
                column: "last_access_time".to_owned(),
                unit: Unit::Millis,
                lifetime: Lifetime::Column("max_inactive_interval".to_owned()),
            },
        )
    }
}

fn tower_sessions() -> Mapping {
    Mapping {
        duplicates: Duplicates::Refused,
        // tower-cookies reads escapes.
        steps: vec![Step::PercentDecode],
        payload: Some(("data".to_owned(), PayloadFormat::MessagePack)),
        user: Vec::new(),
        comes_back: true,
        ..table("id", "tower_sessions.session", "id", at("expiry_date"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a core keeps of a cookie must be true at any later time.
    #[test]
    fn only_a_cookie_with_an_end_of_its_own_names_its_row_for_a_time() {
        for preset in Preset::ALL {
            let has_end = preset == Preset::Rails8;
            assert_eq!(preset.mapping().is_timeless(), !has_end, "{}", preset.word());
        }
    }

    #[test]
    fn no_preset_with_a_payload_guesses_the_user_but_where_the_library_itself_says_it() {
        for preset in Preset::ALL {
            let mapping = preset.mapping();
            let guesses = mapping.payload.is_some() && !mapping.user.is_empty();
            assert_eq!(guesses, preset == Preset::Django, "{}", preset.word());
            assert!(!mapping.cookies.is_empty() && !mapping.table.is_empty());
        }
    }

    #[test]
    fn the_word_of_a_preset_is_its_own() {
        let mut words: Vec<_> = Preset::ALL.iter().map(|preset| preset.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Preset::ALL.len());
    }
}
