//! What a request asks for: its query and its body, read as strictly as they are documented.

use super::endpoint::Operation;
use super::refusal::Refusal;
use crate::model::Timestamp;
use crate::model::Username;
use crate::web::Exchange;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// How many items a list has unless it is asked for another number, and at most.
pub(super) const LIMIT: u32 = 100;
pub(super) const MOST: u32 = 1000;
/// The longest search, in characters.
pub(super) const MOST_SEARCH: usize = 60;
/// The longest value of a query parameter, in bytes.
const LONGEST: usize = 254;

/// The query parameters of one request: each is known to its operation, and given once.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads the query of `exchange` as `operation` documents it.
    ///
    /// # Errors
    /// `Invalid` for a parameter that is unknown, given twice, too long, or no text.
    pub(super) fn read(exchange: &Exchange, operation: &Operation) -> Result<Self, Refusal> {
        let mut query = Self::default();
        let pairs = exchange.query.as_deref().unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let Some(known) = operation.query.iter().find(|parameter| parameter.name == name) else {
                return Err(unknown(operation));
            };
            if query.text(known.name).is_some() {
                return Err(Refusal::Invalid(format!("`{}` is given twice", known.name)));
            }
            query.0.push((known.name, value));
        }
        Ok(query)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The list that this query goes through, for [`super::page_token::PageTokens`]: the path and every filter, in one
    /// order. Values hold no controls, so that no two lists are described in the same way.
    pub(super) fn about(&self, path: &str) -> String {
        let mut filters: Vec<_> = self
            .0
            .iter()
            .filter(|(name, _)| !matches!(*name, "after" | "limit"))
            .collect();
        filters.sort();
        filters.iter().fold(path.to_owned(), |about, (name, value)| {
            format!("{about}\n{name}={value}")
        })
    }

    /// `limit`.
    pub(super) fn limit(&self) -> Result<u32, Refusal> {
        let Some(text) = self.text("limit") else {
            return Ok(LIMIT);
        };
        // Digits only: `parse` would take a plus sign as well.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let limit = text.parse().ok().filter(|limit| digits && (1..=MOST).contains(limit));
        limit.ok_or_else(|| Refusal::Invalid(format!("`limit` must be a number from 1 to {MOST}")))
    }

    /// A search.
    pub(super) fn search(&self) -> Result<Option<&str>, Refusal> {
        let search = self.text("search");
        if search.is_some_and(|text| text.chars().count() > MOST_SEARCH) {
            return Err(Refusal::Invalid(format!(
                "`search` has at most {MOST_SEARCH} characters"
            )));
        }
        Ok(search)
    }

    /// The same query without its place in the list, as it is written in a URL.
    pub(super) fn at(&self, place: &str) -> String {
        let mut written = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "after") {
            written.append_pair(name, value);
        }
        written.append_pair("after", place);
        written.finish()
    }

    /// A user name.
    pub(super) fn username(&self, name: &str) -> Result<Option<Username>, Refusal> {
        let parse = |text| {
            Username::parse(text).map_err(|error| Refusal::Invalid(format!("`{name}` is no user name: {error}")))
        };
        self.text(name).map(parse).transpose()
    }

    /// A moment in RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let parse = |text| {
            let hint = || Refusal::Invalid(format!("`{name}` must be a time such as 2026-01-31T12:00:00Z"));
            let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| hint())?;
            // What no database could compare.
            (at.unix_timestamp() >= 0).then(|| Timestamp::from(at)).ok_or_else(hint)
        };
        self.text(name).map(parse).transpose()
    }

    /// A session's public id.
    pub(super) fn uuid(&self, name: &str) -> Result<Option<uuid::Uuid>, Refusal> {
        let parse = |text| uuid(text).ok_or_else(|| Refusal::Invalid(format!("`{name}` must be a UUID")));
        self.text(name).map(parse).transpose()
    }
}

fn unknown(operation: &Operation) -> Refusal {
    let known: Vec<_> = operation
        .query
        .iter()
        .map(|parameter| format!("`{}`", parameter.name))
        .collect();
    Refusal::Invalid(match known.as_slice() {
        [] => "There are no query parameters here".to_owned(),
        known => format!("The query parameters here are {}", known.join(", ")),
    })
}

fn decode(text: &str) -> Result<String, Refusal> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned);
    let plain = decoded.filter(|text| text.len() <= LONGEST && !text.chars().any(char::is_control));
    plain.ok_or_else(|| Refusal::Invalid(format!("A query parameter is no text of at most {LONGEST} bytes")))
}

/// A UUID in its usual form: the others would be second names of the same thing.
pub(super) fn uuid(text: &str) -> Option<uuid::Uuid> {
    (text.len() == 36).then(|| uuid::Uuid::try_parse(text).ok()).flatten()
}

/// The JSON body of a request. Messages repeat nothing of it, because a password may stand anywhere.
///
/// # Errors
/// `MediaType` and `Invalid`.
pub(super) fn body<T: DeserializeOwned>(exchange: &Exchange, members: &str) -> Result<T, Refusal> {
    let mut kinds = exchange.headers.get_all(CONTENT_TYPE).iter();
    let kind = match (kinds.next(), kinds.next()) {
        (Some(kind), None) if !exchange.headers.contains_key(CONTENT_ENCODING) => kind.as_bytes(),
        _ => return Err(Refusal::MediaType),
    };
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return Err(Refusal::MediaType);
    }
    // serde takes a list for an object: its items for the members, in order.
    if exchange
        .body
        .trim_ascii_start()
        .first()
        .is_some_and(|first| *first == b'[')
    {
        return Err(Refusal::Invalid("The body must be a JSON object".to_owned()));
    }
    serde_json::from_slice(&exchange.body).map_err(|error| {
        Refusal::Invalid(match error.classify() {
            serde_json::error::Category::Data => {
                format!("The body must be an object with these members, each at most once: {members}")
            }
            _ => "The body is not valid JSON".to_owned(),
        })
    })
}

/// Refuses a body where none belongs.
///
/// # Errors
/// `Invalid`.
pub(super) fn no_body(exchange: &Exchange) -> Result<(), Refusal> {
    if exchange.body.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Invalid("There is no body here".to_owned()))
    }
}
