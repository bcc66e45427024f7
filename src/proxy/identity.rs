//! Who the user is, as the application reads it: built once for a session and profile, stamped last before the wire.

use super::clean::Cleaned;
use super::gate::Pass;
use super::intake::Client;
use super::route::Route;
use super::settings::Encoding;
use super::settings::IdentitySettings;
use super::settings::Preset;
use crate::model::Session;
use crate::model::User;
use crate::session::Entry;
use crate::telemetry::Metrics;
use crate::web::UpgradeHold;
use bytes::Bytes;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use hyper::body::Incoming;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// A request that only the gateway spoke for: what goes to the application.
pub struct Stamped {
    /// Ready to be sent.
    pub request: Request<Incoming>,
    /// Who sent it.
    pub client: Client,
    /// On upgrades.
    pub hold: Option<UpgradeHold>,
    /// The client asks for a WebSocket.
    pub websocket: bool,
    /// The session that it passes with.
    pub entry: Option<Arc<Entry>>,
}

/// What a route's application is told: header names and templates.
#[derive(Debug)]
pub struct Profile {
    /// Unique in this process: the key of ready-made headers in a session's entry.
    key: u64,
    headers: Vec<(HeaderName, Template)>,
    delimiter: char,
    encoding: Encoding,
    /// Where groups of applications are counted that could not be told.
    metrics: Option<Arc<Metrics>>,
}

#[derive(Clone, Debug)]
struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(Claim),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Username,
    Id,
    Name,
    Email,
    Groups,
    Session,
}

/// Headers of one session for one profile.
type Ready = Vec<(HeaderName, HeaderValue)>;

static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Profile {
    /// The profile of a route. Templates were checked by config; an unknown placeholder stays as text.
    #[must_use]
    pub fn new(settings: &IdentitySettings) -> Self {
        let mut headers: Vec<(HeaderName, Template)> = family(settings.preset)
            .iter()
            .map(|(name, claim)| (HeaderName::from_static(name), Template(vec![Piece::Claim(*claim)])))
            .collect();
        for (name, template) in &settings.headers {
            headers.retain(|(known, _)| known != name);
            headers.push((name.clone(), Template::parse(template)));
        }
        Self {
            key: NEXT_KEY.fetch_add(1, Ordering::Relaxed),
            headers,
            delimiter: settings.delimiter.unwrap_or(','),
            encoding: settings.encoding,
            metrics: None,
        }
    }

    /// The same, counting groups of applications that could not be told.
    #[must_use]
    pub fn counting(mut self, metrics: Arc<Metrics>) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// The names that this profile writes.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.headers.iter().map(|(name, _)| name)
    }

    /// Counts groups that an application's row names and that this profile leaves out, once for each time that its headers
    /// are made.
    fn count_dropped(&self, source: &str, user: &User) {
        let is_told = |(_, template): &(HeaderName, Template)| template.0.contains(&Piece::Claim(Claim::Groups));
        let dropped = user
            .groups
            .iter()
            .filter(|group| group.contains(self.delimiter))
            .count();
        if let Some(metrics) = &self.metrics
            && dropped > 0
            && self.headers.iter().any(is_told)
        {
            metrics.source_fault(source, "group").inc_by(dropped as u64);
        }
    }

    fn build(&self, session: &Session, user: &User) -> Ready {
        let values = self
            .headers
            .iter()
            .filter_map(|(name, template)| Some((name.clone(), self.fill(template, session, user)?)));
        values.collect()
    }

    /// `None` when a claim of the template is absent: an absent claim means an absent header, never an empty one.
    fn fill(&self, template: &Template, session: &Session, user: &User) -> Option<HeaderValue> {
        let mut text = String::new();
        for piece in &template.0 {
            match piece {
                Piece::Text(fixed) => text.push_str(fixed),
                Piece::Claim(claim) => self.encode(&mut text, &self.claim(*claim, session, user)?),
            }
        }
        // Whatever a store holds, no control character gets into a header: the value is checked once more here.
        let clean = !text.is_empty() && !text.chars().any(char::is_control);
        clean
            .then(|| HeaderValue::from_maybe_shared(Bytes::from(text)).ok())
            .flatten()
    }

    fn claim(&self, claim: Claim, session: &Session, user: &User) -> Option<String> {
        match claim {
            Claim::Username => Some(user.username.to_string()),
            Claim::Id => Some(user.id.to_string()),
            Claim::Name => user.name.clone(),
            Claim::Email => user.email.clone().filter(|_| user.email_verified),
            Claim::Session => Some(session.public_id.to_string()),
            Claim::Groups => {
                // A group with the delimiter in it would be read as two.
                let safe: Vec<&str> = user
                    .groups
                    .iter()
                    .map(String::as_str)
                    .filter(|group| !group.contains(self.delimiter))
                    .collect();
                (!safe.is_empty()).then(|| safe.join(&self.delimiter.to_string()))
            }
        }
    }

    fn encode(&self, text: &mut String, value: &str) {
        match self.encoding {
            Encoding::Utf8 => text.push_str(value),
            Encoding::Percent => {
                for byte in value.bytes() {
                    if matches!(byte, 0x20..=0x7e) && byte != b'%' {
                        text.push(char::from(byte));
                    } else {
                        // Writing to a String cannot fail.
                        let _ = write!(text, "%{byte:02X}");
                    }
                }
            }
        }
    }
}

impl Template {
    fn parse(text: &str) -> Self {
        const CLAIMS: [(&str, Claim); 6] = [
            ("{username}", Claim::Username),
            ("{id}", Claim::Id),
            ("{name}", Claim::Name),
            ("{email}", Claim::Email),
            ("{groups}", Claim::Groups),
            ("{session}", Claim::Session),
        ];
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((at, word, claim)) = CLAIMS
            .iter()
            .filter_map(|(word, claim)| rest.find(word).map(|at| (at, word, claim)))
            .min_by_key(|(at, ..)| *at)
        {
            if at > 0 {
                pieces.push(Piece::Text(rest[..at].to_owned()));
            }
            pieces.push(Piece::Claim(*claim));
            rest = &rest[at + word.len()..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Self(pieces)
    }
}

fn family(preset: Preset) -> &'static [(&'static str, Claim)] {
    match preset {
        Preset::OAuth2Proxy => &[
            ("x-forwarded-user", Claim::Username),
            ("x-forwarded-preferred-username", Claim::Username),
            ("x-forwarded-email", Claim::Email),
            ("x-forwarded-groups", Claim::Groups),
        ],
        Preset::RemoteUser => &[
            ("remote-user", Claim::Username),
            ("remote-groups", Claim::Groups),
            ("remote-name", Claim::Name),
            ("remote-email", Claim::Email),
        ],
        Preset::Radicale => &[("x-remote-user", Claim::Username)],
        Preset::Free => &[],
    }
}

/// Writes the identity headers and the operator's own: the last change before the wire.
#[must_use]
pub fn stamp(cleaned: Cleaned, route: &Route) -> Stamped {
    let Cleaned {
        mut request,
        client,
        pass,
        hold,
        websocket,
    } = cleaned;
    let headers = request.headers_mut();
    for (name, value) in &route.fixed_headers {
        headers.insert(name.clone(), value.clone());
    }
    let mut entry = None;
    if let Pass::User(live) = pass {
        let ready = live.entry.derived(route.profile.key, |session, user| {
            if let Some(source) = live.entry.source() {
                route.profile.count_dropped(source, user);
            }
            route.profile.build(session, user)
        });
        for (name, value) in ready.iter() {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(age) = live.stale {
            headers.insert(
                HeaderName::from_static("x-portcullis-stale"),
                HeaderValue::from(age.as_secs()),
            );
        }
        entry = Some(live.entry);
    }
    Stamped {
        request,
        client,
        hold,
        websocket,
        entry,
    }
}

#[cfg(test)]
mod tests {
    use super::{Profile, Template};
    use crate::model::{Digest, PublicId, Session, Timestamp, User, UserId, UserState, Username};
    use crate::proxy::settings::{Encoding, IdentitySettings, Preset};
    use http::HeaderName;

    fn session() -> Session {
        let at = Timestamp::from_micros(0);
        Session {
            digest: Digest([0; 32]),
            public_id: PublicId(uuid::Uuid::nil()),
            user: UserId(uuid::Uuid::nil()),
            created_at: at,
            authenticated_at: at,
            last_seen_at: at,
            expires_at: at,
            ends_at: at,
            remembered: false,
            methods: Vec::new(),
            user_agent: None,
            device: None,
            first_address: None,
            last_address: None,
            data: None,
        }
    }

    fn user() -> User {
        User {
            id: UserId(uuid::Uuid::nil()),
            username: Username::parse("ada").unwrap(),
            email: Some("ada@example.com".into()),
            email_verified: true,
            name: Some("Ada Lövelace 100%".into()),
            groups: vec!["a,b".into(), "ops".into(), "staff".into()],
            state: UserState::Active,
            created_at: Timestamp::from_micros(0),
            app_users: std::collections::BTreeMap::new(),
        }
    }

    fn built(
        preset: Preset,
        headers: &[(&'static str, &str)],
        encoding: Encoding,
        user: &User,
    ) -> Vec<(String, Vec<u8>)> {
        let headers = headers
            .iter()
            .map(|(name, text)| (HeaderName::from_static(name), (*text).to_owned()))
            .collect();
        let profile = Profile::new(&IdentitySettings {
            preset,
            headers,
            delimiter: None,
            encoding,
        });
        profile
            .build(&session(), user)
            .into_iter()
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_family_names_the_user_and_an_absent_claim_is_an_absent_header() {
        let full = built(Preset::OAuth2Proxy, &[], Encoding::Percent, &user());
        assert_eq!(full.len(), 4);
        assert!(
            full.contains(&("x-forwarded-groups".into(), b"ops,staff".to_vec())),
            "{full:?}"
        );
        let bare = User {
            email_verified: false,
            groups: Vec::new(),
            name: None,
            ..user()
        };
        let left: Vec<_> = built(Preset::RemoteUser, &[], Encoding::Percent, &bare);
        assert_eq!(left, [("remote-user".to_owned(), b"ada".to_vec())]);
    }

    #[test]
    fn templates_are_filled_and_encoded() {
        let free = [("x-who", "<{username}> {name}")];
        assert_eq!(
            built(Preset::Free, &free, Encoding::Percent, &user())[0].1,
            b"<ada> Ada L%C3%B6velace 100%25"
        );
        assert_eq!(
            built(Preset::Free, &free, Encoding::Utf8, &user())[0].1,
            "<ada> Ada Lövelace 100%".as_bytes()
        );
        let nameless = User { name: None, ..user() };
        assert!(built(Preset::Free, &free, Encoding::Utf8, &nameless).is_empty());
    }

    #[test]
    fn no_control_character_of_a_row_reaches_a_header() {
        let evil = User {
            name: Some("a\r\nX-Admin: 1".into()),
            ..user()
        };
        assert!(built(Preset::Free, &[("x-who", "{name}")], Encoding::Utf8, &evil).is_empty());
        assert_eq!(
            built(Preset::Free, &[("x-who", "{name}")], Encoding::Percent, &evil)[0].1,
            b"a%0D%0AX-Admin: 1"
        );
    }

    #[test]
    fn a_template_of_many_claims_keeps_their_order() {
        assert_eq!(Template::parse("{id}:{username}{x}").0.len(), 4);
    }
}
