//! `sync`: a page that was offline says that it is back, and hears how things stand.

use super::Portal;
use super::desk::{Objection, json, problem};
use super::error_page::ErrorPage;
use super::fields::{Body, FieldsError, from_json};
use super::visitor::{SessionFacts, UserFacts};
use crate::account::is_unseen;
use crate::model::Timestamp;
use crate::session::Identified;
use crate::session::Naming;
use crate::web::Answer;
use crate::web::Exchange;
use http::StatusCode;
use std::time::Duration;

/// Most bytes of a device's name.
const MAX_NAME: usize = 128;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonSync {
    #[serde(default)]
    device: Option<JsonDevice>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonDevice {
    name: String,
}

/// What `sync` answers.
#[derive(serde::Serialize)]
struct Synced<'a> {
    session: SessionFacts<'a>,
    user: UserFacts<'a>,
    server_time: Timestamp,
}

/// The device's name, where one is given.
fn read(bytes: &[u8]) -> Result<Option<String>, FieldsError> {
    let JsonSync { device } = from_json(bytes, FieldsError::SyncMembers)?;
    let Some(JsonDevice { name }) = device else {
        return Ok(None);
    };
    let name = name.trim();
    let is_hidden = |letter: char| letter.is_control() || is_unseen(letter);
    let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(is_hidden);
    fits.then(|| Some(name.to_owned())).ok_or(FieldsError::DeviceName)
}

impl Portal {
    /// `POST sync`, JSON only.
    pub(super) async fn sync(&self, exchange: &Exchange) -> Answer {
        match self.admit(exchange) {
            Ok(Body::Json) => {}
            Ok(Body::Form | Body::Nothing) => return self.object(exchange, Objection::Unreadable),
            Err(objection) => return self.object(exchange, objection),
        }
        let device = match read(&exchange.body) {
            Ok(device) => device,
            Err(fault) => return self.unreadable(exchange, fault),
        };
        let mut known = self.identify(exchange).await;
        if let (Identified::Live(live), Some(name)) = (&known, &device) {
            let named = self.sessions.name_device(&live.entry, name, exchange.address).await;
            match named {
                Ok(Naming::Named) => {}
                Ok(Naming::TooSoon(wait)) => return self.named_too_often(exchange, wait),
                Err(error) => {
                    tracing::warn!(request.id = %exchange.request_id, error = &error as &dyn std::error::Error,
                        "a device's name was not stored");
                    return self.cannot_ask(exchange);
                }
            }
            known = self.identify(exchange).await;
        }
        let Identified::Live(live) = known else {
            return self.unauthenticated(exchange, &known, "/me");
        };
        self.sessions.touch(&live.entry, exchange.address);
        let synced = Synced {
            session: SessionFacts::of(&live.entry),
            user: UserFacts::of(&live.entry.user),
            server_time: self.sessions.now(),
        };
        json(exchange, &synced)
    }

    /// 429: each name is written down.
    fn named_too_often(&self, exchange: &Exchange, wait: Duration) -> Answer {
        let page = ErrorPage {
            sentence: "This device was given several names within a minute; send the one that it has, or wait.",
            retry_after: Some(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)),
            ..self.error(exchange, StatusCode::TOO_MANY_REQUESTS)
        };
        problem(exchange, "too-many-names", &page)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME, read};
    use crate::portal::fields::FieldsError;

    fn named(name: &str) -> Result<Option<String>, FieldsError> {
        read(serde_json::json!({"device": {"name": name}}).to_string().as_bytes())
    }

    #[test]
    fn a_device_has_any_name_that_can_be_seen() {
        for name in [
            "Anna's phone",
            "Büro \u{1f4bb}",
            "手机",
            "Us \u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        ] {
            assert_eq!(named(name), Ok(Some(name.to_owned())));
        }
        assert_eq!(named("  tidy "), Ok(Some("tidy".to_owned())));
        assert_eq!(named(&"x".repeat(MAX_NAME)).unwrap().unwrap().len(), MAX_NAME);
        assert_eq!(read(b"{}"), Ok(None));
        assert_eq!(read(br#"{"device":null}"#), Ok(None));
    }

    #[test]
    fn a_name_that_is_empty_too_long_or_hides_something_is_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for name in [
            "",
            "  ",
            "a\nb",
            "a\u{0}",
            "a\u{202e}b",
            "a\u{2028}b",
            "a\u{200b}b",
            "\u{3164}",
            "a\u{ad}b",
            "a\u{e0041}",
            &long,
        ] {
            assert_eq!(named(name), Err(FieldsError::DeviceName), "{name:?}");
        }
        assert_eq!(
            named(&"ü".repeat(65)),
            Err(FieldsError::DeviceName),
            "bytes are counted"
        );
    }

    #[test]
    fn members_that_nobody_asked_for_are_refused() {
        for body in [
            r#"{"device":{"name":"x","id":1}}"#,
            r#"{"name":"x"}"#,
            r#"{"device":"x"}"#,
            r#"{"device":{"name":"x"},"device":{"name":"y"}}"#,
        ] {
            assert_eq!(read(body.as_bytes()), Err(FieldsError::SyncMembers), "{body}");
        }
        assert_eq!(read(b"{"), Err(FieldsError::NotJson));
        for body in ["", "[]", r#"[{"name":"x"}]"#, "null"] {
            assert_eq!(read(body.as_bytes()), Err(FieldsError::NotJson), "{body}");
        }
    }
}
