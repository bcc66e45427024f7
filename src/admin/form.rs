use super::refusal::Refusal;
use crate::web::Exchange;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use percent_encoding::percent_decode_str;

/// Most fields of one form.
const MOST: usize = 8;

/// What a page's form sent: each field once.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// # Errors
    /// `MediaType` and `Invalid`.
    pub(super) fn read(exchange: &Exchange) -> Result<Self, Refusal> {
        let mut kinds = exchange.headers.get_all(CONTENT_TYPE).iter();
        let kind = match (kinds.next(), kinds.next()) {
            (Some(kind), None) if !exchange.headers.contains_key(CONTENT_ENCODING) => kind.as_bytes(),
            _ => return Err(Refusal::MediaType),
        };
        let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        if !kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Err(Refusal::MediaType);
        }
        let wrong = || Refusal::Invalid("The form cannot be read".to_owned());
        let text = std::str::from_utf8(&exchange.body).map_err(|_| wrong())?;
        let mut form = Self(Vec::new());
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name).ok_or_else(wrong)?, decode(value).ok_or_else(wrong)?);
            if form.text(&name).is_some() || form.0.len() == MOST {
                return Err(wrong());
            }
            form.0.push((name, value));
        }
        Ok(form)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}
