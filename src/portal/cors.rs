//! Pages of the origins in `portal.return_origins` may ask this desk with the visitor's cookie (Fetch, 3.2). Nobody
//! else's may: without these headers a browser neither asks first nor shows its page the answer.

use super::Portal;
use super::desk::{plain, problem};
use super::error_page::ErrorPage;
use crate::web::Answer;
use crate::web::Exchange;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};

/// How long a browser may remember a permission, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

impl Portal {
    /// The origin that sent this request, where it is another one that is listed. `null` and doubled lines are none, and
    /// so is one whose `Sec-Fetch-Site` tells another story.
    pub(super) fn listed_origin<'a>(&self, exchange: &'a Exchange) -> Option<&'a HeaderValue> {
        let mut lines = exchange.headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (lines.next(), lines.next()) else {
            return None;
        };
        let mut sites = exchange.headers.get_all("sec-fetch-site").iter();
        let from_elsewhere = match (sites.next(), sites.next()) {
            (None, _) => true,
            (Some(site), None) => matches!(site.as_bytes(), b"cross-site" | b"same-site"),
            _ => false,
        };
        let listed = from_elsewhere && self.returns.lists(origin.to_str().ok()?, exchange.scheme);
        listed.then_some(origin)
    }

    /// The answer to a browser that asks whether a page may send what it wants to; `None` for every other request.
    pub(super) fn preflight(&self, exchange: &Exchange) -> Option<Answer> {
        let headers = &exchange.headers;
        let asks = exchange.method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks {
            return None;
        }
        let methods = exchange
            .path
            .strip_prefix(self.settings.prefix.as_str())
            .and_then(|path| self.methods(path));
        let (Some(origin), Some(methods)) = (self.listed_origin(exchange), methods) else {
            let refusal = ErrorPage {
                sentence: "Pages of this origin may not ask here.",
                ..self.error(exchange, StatusCode::FORBIDDEN)
            };
            return Some(problem(exchange, "foreign-origin", &refusal));
        };
        let mut answer = plain(exchange, StatusCode::NO_CONTENT);
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        Some(answer)
    }

    /// Lets a listed page read `answer`. Our own pages are not for other pages to read: their forms hold tokens.
    pub(super) fn share(&self, exchange: &Exchange, answer: &mut Answer) {
        if !self.returns.has_others() {
            return;
        }
        let kind = answer.headers().get(CONTENT_TYPE);
        let is_data = kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/html"));
        let headers = answer.headers_mut();
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = self.listed_origin(exchange).filter(|_| is_data) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}
