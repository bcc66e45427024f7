use super::Ask;
use super::List;
use super::text;
use crate::admin::Admin;
use crate::admin::refusal::Refusal;
use crate::audit::EventFilter;
use crate::audit::RecordedEvent;
use crate::model::PublicId;
use crate::web::Answer;
use http::HeaderValue;
use http::StatusCode;
use http::header::ACCEPT;
use http::header::LINK;

const LINES: &str = "application/x-ndjson";

impl Admin {
    pub(super) async fn list_events(&self, ask: &Ask<'_>) -> Result<Answer, Refusal> {
        let query = &ask.query;
        let limit = query.limit()?;
        let place = self
            .place(ask)?
            .and_then(|place| Some(i64::from_be_bytes(place.try_into().ok()?)));
        let kind = query.text("kind");
        if kind.is_some_and(|kind| !is_word(kind)) {
            return Err(Refusal::Invalid("`kind` is a word such as login_failed".to_owned()));
        }
        let in_lines = wants_lines(ask)?;
        let filter = EventFilter {
            below: place,
            since: query.time("since")?,
            until: query.time("until")?,
            kind: kind.map(str::to_owned),
            user: query.username("user")?,
            session: query.uuid("session")?.map(PublicId),
            limit: limit + 1,
        };
        let found = self.log.find(filter).await?;
        let place = |(id, _): &(i64, RecordedEvent)| id.to_be_bytes().to_vec();
        let (items, next) = self.page(ask, found, limit, place, |(_, event)| event);
        if in_lines {
            return Ok(lines(ask, &items, next));
        }
        Ok(ask.json(&List { items, next }))
    }
}

fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn wants_lines(ask: &Ask<'_>) -> Result<bool, Refusal> {
    match ask.query.text("format") {
        Some("jsonl") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(Refusal::Invalid("`format` is json or jsonl".to_owned())),
        None => Ok(ask
            .exchange
            .headers
            .get(ACCEPT)
            .is_some_and(|kind| kind.as_bytes().trim_ascii().eq_ignore_ascii_case(LINES.as_bytes()))),
    }
}

/// One event a line. There is no room for `next` in them: it goes into `Link` (RFC 8288).
fn lines(ask: &Ask<'_>, items: &[RecordedEvent], next: Option<String>) -> Answer {
    let mut body = Vec::new();
    for item in items {
        // Writing into memory does not fail.
        let _ = serde_json::to_writer(&mut body, item);
        body.push(b'\n');
    }
    let mut answer = text(ask.exchange, StatusCode::OK, LINES, body);
    let link = next.map(|next| format!("<{}{}?{}>; rel=\"next\"", ask.base, ask.path, ask.query.at(&next)));
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        answer.headers_mut().insert(LINK, link);
    }
    answer
}
