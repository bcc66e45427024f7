//! What express-session and connect-pg-simple would make of a log-in: the row's payload, and the cookie.
//!
//! The user is one that an administrator named. Nothing that a visitor chose stands in a row, and every key is new.

use super::SourceSettings;
use super::facts;
use super::facts::Row;
use super::mapping::Place;
use super::steps::Encoding;
use super::steps::Hash;
use super::steps::tag_of;
use crate::model::Digest;
use crate::model::Timestamp;
use crate::model::User;
use crate::model::Username;
use crate::session::SameSite;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::AsciiSet;
use percent_encoding::NON_ALPHANUMERIC;
use percent_encoding::utf8_percent_encode;
use secrecy::ExposeSecret;
use secrecy::SecretString;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::format_description;
use zeroize::Zeroizing;

/// What express-session's ids are made of.
const RANDOM: usize = 24;
/// How long connect-pg-simple keeps a row whose cookie says no end.
const DAY: Duration = Duration::from_hours(24);
/// What `encodeURIComponent` leaves as it is, of what can stand in a cookie of ours.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The cookie by which the application knows its sessions, with the attributes that it gives it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCookie {
    /// `Path`.
    pub path: String,
    /// `Domain`; without one the cookie is of its host alone.
    pub domain: Option<String>,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `Secure`; `None`: on https.
    pub secure: Option<bool>,
    /// `SameSite`; `None`: the attribute is left out.
    pub same_site: Option<SameSite>,
    /// How long the session lives; `None`: the cookie until the browser is closed, and the row for a day at first, as the
    /// libraries have it.
    pub max_age: Option<Duration>,
}

/// A row that is to be added, and what the browser gets for it.
pub(crate) struct Fresh {
    pub(crate) key: String,
    pub(crate) digest: Digest,
    pub(crate) payload: Value,
    pub(crate) end: Timestamp,
    /// The whole `Set-Cookie`, a secret.
    pub(crate) cookie: SecretString,
    /// Whom the row is of.
    pub(crate) principal: Username,
}

/// Why nobody can be signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misfit {
    #[error(
        "the application's user does not stand where `user` looks for it, or `require` and `refuse` do not let it in"
    )]
    Place,
    #[error("user_map says that this user of the application is somebody else")]
    SomebodyElse,
    #[error("the operating system gave no randomness")]
    Randomness,
    #[error("the source's secrets and cookie make no cookie that the application would take")]
    Cookie,
}

impl SourceSettings {
    /// The row and cookie of a new session of `user`, who is `app_user` in the application; `None` where the source opens
    /// none.
    pub(crate) fn fresh(
        &self,
        user: &User,
        app_user: &Value,
        now: Timestamp,
        https: bool,
    ) -> Option<Result<Fresh, Misfit>> {
        self.open
            .as_ref()
            .map(|cookie| self.made(cookie, user, app_user, now, https))
    }

    fn made(
        &self,
        cookie: &OpenCookie,
        user: &User,
        app_user: &Value,
        now: Timestamp,
        https: bool,
    ) -> Result<Fresh, Misfit> {
        let end = now.plus(cookie.max_age.unwrap_or(DAY));
        let row = Row {
            payload: payload(&self.mapping.user, cookie, app_user, end, https).ok_or(Misfit::Place)?,
            ..Row::default()
        };
        let subject = facts::subject(&self.mapping, &row).ok_or(Misfit::Place)?;
        let principal = facts::principal(&self.name, &subject);
        if self
            .user_map
            .get(&subject)
            .is_some_and(|name| name != user.username.as_str())
        {
            return Err(Misfit::SomebodyElse);
        }
        let key = sid()?;
        let value = self.signed(&key).ok_or(Misfit::Cookie)?;
        let name = self.mapping.cookies.first().ok_or(Misfit::Cookie)?;
        // Read as the application's own will be, before anybody gets it.
        let named = self.named(&[(name.as_bytes(), value.expose_secret().as_bytes())], now.as_seconds());
        let (digest, _) = named.filter(|(_, found)| found.text == key).ok_or(Misfit::Cookie)?;
        let line = cookie.line(name, value.expose_secret(), https, cookie.max_age);
        Ok(Fresh {
            key,
            digest,
            payload: row.payload,
            end,
            cookie: line.into(),
            principal,
        })
    }

    /// `s:` + key + `.` + signature by the first secret, as `encodeURIComponent` writes it.
    fn signed(&self, key: &str) -> Option<SecretString> {
        let secret = self.secrets.iter().next()?;
        let tag = tag_of(Hash::Sha256, secret.expose_secret(), key.as_bytes());
        let text = format!("s:{key}.{}", Encoding::Standard { pad: false }.encode(&tag));
        Some(utf8_percent_encode(&text, COMPONENT).to_string().into())
    }

    /// The `Set-Cookie` that takes the application's cookie from a browser; `None` where the source opens no sessions.
    pub(crate) fn taking(&self, https: bool) -> Option<String> {
        let cookie = self.open.as_ref()?;
        let name = self.mapping.cookies.first()?;
        Some(cookie.line(name, "", https, Some(Duration::ZERO)))
    }

    /// Whether `found`, whom a session of this source names, is `user` of ours, because an administrator said that `user`
    /// is that user of the application. Allocates nothing: it is asked on the way of a request.
    pub(crate) fn is_same_person(&self, user: &User, found: &Username) -> bool {
        let said = user.app_users.get(&self.name).and_then(|value| match value {
            Value::Object(members) => members.get(last_step(&self.mapping.user)?),
            other => Some(other),
        });
        let name = found.as_str().strip_prefix(self.name.as_str());
        let Some((subject, rest)) = said.zip(name.and_then(|rest| rest.strip_prefix(':'))) else {
            return false;
        };
        let mut rest = Rest(rest);
        let wrote = match subject {
            Value::String(text) => Username::write_subject(text, &mut rest),
            Value::Number(number) => write!(rest, "{number}"),
            _ => Err(std::fmt::Error),
        };
        wrote.is_ok() && rest.0.is_empty()
    }
}

/// What is left of a name that is compared with what is written.
struct Rest<'a>(&'a str);

impl Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(std::fmt::Error)?;
        Ok(())
    }
}

/// The last step of the place in the payload where a session names its user.
fn last_step(places: &[Place]) -> Option<&str> {
    match places.first()? {
        Place::Payload(pointer) => pointer.rsplit('/').next(),
        Place::Column(_) | Place::User(_) => None,
    }
}

/// 24 bytes from the operating system, as express-session's `uid-safe` writes them.
fn sid() -> Result<String, Misfit> {
    let mut bytes = Zeroizing::new([0_u8; RANDOM]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| Misfit::Randomness)?;
    Ok(URL_SAFE_NO_PAD.encode(*bytes))
}

/// The document: `cookie` as express-session writes it, and the user at the configured place. An object stands for the
/// whole that the last step of the place leads into; it never takes the cookie's place.
fn payload(places: &[Place], cookie: &OpenCookie, app_user: &Value, end: Timestamp, https: bool) -> Option<Value> {
    let Place::Payload(pointer) = places.first()? else {
        return None;
    };
    let mut steps: Vec<String> = pointer.split('/').skip(1).map(unescaped).collect();
    if app_user.is_object() {
        steps.pop();
    }
    let mut value = app_user.clone();
    for step in steps.into_iter().rev() {
        value = Value::Object(Map::from_iter([(step, value)]));
    }
    match value {
        Value::Object(mut members) if !members.contains_key("cookie") => {
            members.insert("cookie".to_owned(), cookie.document(end, https));
            Some(Value::Object(members))
        }
        _ => None,
    }
}

/// RFC 6901, 4.
fn unescaped(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

impl OpenCookie {
    /// What `Cookie#toJSON` of express-session writes; members that are not set are left out.
    fn document(&self, end: Timestamp, https: bool) -> Value {
        let mut members = match self.max_age {
            Some(max_age) => json!({
                "originalMaxAge": u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX),
                "expires": iso(end),
            }),
            None => json!({ "originalMaxAge": null, "expires": null }),
        };
        members["httpOnly"] = self.http_only.into();
        members["path"] = self.path.as_str().into();
        if self.secure.unwrap_or(https) {
            members["secure"] = true.into();
        }
        if let Some(domain) = &self.domain {
            members["domain"] = domain.as_str().into();
        }
        if let Some(same_site) = self.same_site {
            members["sameSite"] = same_site.as_str().into();
        }
        members
    }

    fn line(&self, name: &str, value: &str, https: bool, max_age: Option<Duration>) -> String {
        let mut cookie = cookie::Cookie::build((name, value))
            .path(self.path.as_str())
            .http_only(self.http_only)
            .secure(self.secure.unwrap_or(https))
            .build();
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.as_str());
        }
        if let Some(same_site) = self.same_site {
            cookie.set_same_site(Some(same_site.into()));
        }
        if let Some(max_age) = max_age {
            let seconds = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
            cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        }
        cookie.to_string()
    }
}

/// As `Date#toISOString` writes it.
fn iso(at: Timestamp) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::Secrets;
    use super::super::preset::Preset;
    use super::*;
    use crate::session::testing::source;
    use crate::session::testing::user;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_micros(1_769_860_800_123_456);

    fn cookie() -> OpenCookie {
        OpenCookie {
            path: "/".to_owned(),
            domain: None,
            http_only: true,
            secure: None,
            same_site: Some(SameSite::Lax),
            max_age: Some(Duration::from_hours(1)),
        }
    }

    fn at(pointer: &str) -> SourceSettings {
        let mapping = super::super::Mapping {
            user: vec![Place::parse(pointer).unwrap()],
            ..Preset::Express.mapping()
        };
        SourceSettings {
            open: Some(cookie()),
            secrets: Arc::new(Secrets::of(&["keyboard cat", "older"])),
            ..source("crm", mapping)
        }
    }

    fn fresh(source: &SourceSettings, app_user: &Value) -> Result<Fresh, Misfit> {
        source.fresh(&user("ada"), app_user, NOW, true).unwrap()
    }

    #[test]
    fn a_row_is_what_the_library_itself_would_write() {
        let made = fresh(&at("/passport/user"), &json!(42)).unwrap();
        let cookie = json!({
            "originalMaxAge": 3_600_000, "expires": "2026-01-31T13:00:00.123Z", "httpOnly": true, "path": "/",
            "secure": true, "sameSite": "lax",
        });
        assert_eq!(made.payload, json!({ "cookie": cookie, "passport": { "user": 42 } }));
        assert_eq!(made.principal.as_str(), "crm:42");
        assert_eq!(made.end, NOW.plus(Duration::from_hours(1)));
        assert_eq!(made.key.len(), 32);
        assert_eq!(URL_SAFE_NO_PAD.decode(&made.key).unwrap().len(), RANDOM);
    }

    #[test]
    fn a_value_is_signed_as_the_library_signs_it() {
        let value = at("/userId").signed("AbCdEfGhIjKlMnOpQrStUvWxYz012345").unwrap();
        let expected = "s%3AAbCdEfGhIjKlMnOpQrStUvWxYz012345.Rep3%2FFvg0qav4rmx0KMMPMPLPqwiVeA7cAX7m1k6618";
        assert_eq!(value.expose_secret(), expected);
        let value = at("/userId").signed("sid0").unwrap();
        let expected = "s%3Asid0.hjffqvafnodC8S8w%2FeszTjZm%2Bk%2B2C%2FJcl%2BptM70Du%2F0";
        assert_eq!(value.expose_secret(), expected);
    }

    #[test]
    fn every_row_has_a_key_of_its_own() {
        let source = at("/userId");
        let keys: std::collections::BTreeSet<_> = (0..100).map(|_| fresh(&source, &json!("a")).unwrap().key).collect();
        assert_eq!(keys.len(), 100);
    }

    #[test]
    fn an_object_is_the_whole_that_the_place_leads_into() {
        let made = fresh(&at("/passport/user/id"), &json!({ "id": 42, "name": "Ada" })).unwrap();
        assert_eq!(made.payload["passport"], json!({ "user": { "id": 42, "name": "Ada" } }));
        let made = fresh(&at("/passport/user/id"), &json!(42)).unwrap();
        assert_eq!(made.payload["passport"], json!({ "user": { "id": 42 } }));
        let made = fresh(&at("/userId"), &json!({ "userId": "42", "role": "admin" })).unwrap();
        assert_eq!(
            (&made.payload["userId"], &made.payload["role"]),
            (&json!("42"), &json!("admin"))
        );
        let other = fresh(&at("/passport/user/id"), &json!({ "key": 42 }));
        assert_eq!(other.err(), Some(Misfit::Place));
        let evil = fresh(&at("/userId"), &json!({ "userId": "42", "cookie": { "path": "/" } }));
        assert_eq!(evil.err(), Some(Misfit::Place));
        assert_eq!(fresh(&at("/cookie/user"), &json!(42)).err(), Some(Misfit::Place));
    }

    #[test]
    fn nobody_is_opened_who_would_not_count_as_signed_in() {
        let mut source = at("/userId");
        source.mapping.require = vec![super::super::Condition {
            place: Place::parse("/mfa").unwrap(),
            value: json!(true),
        }];
        assert_eq!(fresh(&source, &json!("42")).err(), Some(Misfit::Place));
        assert!(fresh(&source, &json!({ "userId": "42", "mfa": true })).is_ok());
        let mut source = at("/userId");
        source.user_map = BTreeMap::from([("42".to_owned(), "bob".to_owned())]);
        assert_eq!(fresh(&source, &json!("42")).err(), Some(Misfit::SomebodyElse));
        source.user_map = BTreeMap::from([("42".to_owned(), "ada".to_owned())]);
        assert!(fresh(&source, &json!("42")).is_ok());
        source.open = None;
        assert!(source.fresh(&user("ada"), &json!("42"), NOW, true).is_none());
    }

    #[test]
    fn attributes_are_those_that_the_application_uses() {
        let mut source = at("/userId");
        let line = |source: &SourceSettings, https| {
            let made = source.fresh(&user("ada"), &json!("42"), NOW, https).unwrap().unwrap();
            let line = made.cookie.expose_secret().to_owned();
            (
                line.split_once(';').unwrap().1.to_owned(),
                made.payload["cookie"].clone(),
            )
        };
        let (said, _) = line(&source, true);
        assert_eq!(said, " HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=3600");
        let (said, document) = line(&source, false);
        assert_eq!(said, " HttpOnly; SameSite=Lax; Path=/; Max-Age=3600");
        assert_eq!(document.get("secure"), None);
        source.open = Some(OpenCookie {
            path: "/app".to_owned(),
            domain: Some("example.com".to_owned()),
            http_only: false,
            secure: Some(false),
            same_site: None,
            max_age: None,
        });
        let (said, document) = line(&source, true);
        assert_eq!(said, " Path=/app; Domain=example.com");
        let expected = json!({
            "originalMaxAge": null, "expires": null, "httpOnly": false, "path": "/app",
            "domain": "example.com",
        });
        assert_eq!(document, expected);
        let taken = source.taking(true).unwrap();
        assert_eq!(taken, "connect.sid=; Path=/app; Domain=example.com; Max-Age=0");
    }

    #[test]
    fn a_user_is_the_same_person_as_their_app_user_and_as_nobody_else() {
        let source = at("/passport/user/id");
        let same = |app_user: Value, found: &str, subject: &str| {
            let mut ada = user("ada");
            ada.app_users.insert("crm".to_owned(), app_user);
            source.is_same_person(&ada, &Username::of_source(found, subject))
        };
        assert!(same(json!(42), "crm", "42"));
        assert!(same(json!("42"), "crm", "42"));
        assert!(same(json!({ "id": 42 }), "crm", "42"));
        assert!(same(json!("Ä b"), "crm", "Ä b"));
        for (said, found, subject) in [
            (json!(42), "crm", "421"),
            (json!(421), "crm", "42"),
            (json!(42), "wiki", "42"),
            (json!(42), "crm2", "42"),
            (json!({ "key": 42 }), "crm", "42"),
            (json!({ "id": { "id": 42 } }), "crm", "42"),
            (json!("a b"), "crm", "a%20b"),
        ] {
            assert!(!same(said.clone(), found, subject), "{said} {found}:{subject}");
        }
        assert!(!source.is_same_person(&user("ada"), &Username::of_source("crm", "42")));
        let mut ada = user("ada");
        ada.app_users.insert("crm".to_owned(), json!("bob"));
        assert!(!source.is_same_person(&ada, &Username::parse("bob").unwrap()));
    }
}
