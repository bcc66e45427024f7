use super::RequestId;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};

/// An answer that the gateway wrote itself, whole.
pub type Answer = Response<Bytes>;

/// A whole body as hyper wants it.
pub type Full = http_body_util::Full<Bytes>;

/// An error whose cause is kept.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A refusal for programs: RFC 9457 with the member `error`, which the front ends of older applications read.
#[derive(Debug, serde::Serialize)]
pub struct Problem {
    /// `urn:portcullis:<slug>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: &'static str,
    /// The status.
    pub status: u16,
    /// The id that the log knows this request by.
    pub request_id: String,
    /// A short English sentence.
    pub error: String,
    /// Where to sign in, on 401.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_url: Option<String>,
    /// Where to sign out, for somebody who is signed in twice: one of them is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logout_urls: Vec<String>,
    /// What is wrong, one by one, with a configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<serde_json::Value>,
}

impl Problem {
    /// A problem with `slug` as its type.
    #[must_use]
    pub fn new(status: StatusCode, slug: &str, error: impl Into<String>, request: RequestId) -> Self {
        Self {
            kind: format!("urn:portcullis:{slug}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            request_id: request.to_string(),
            error: error.into(),
            login_url: None,
            logout_urls: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The problem as a whole answer, with the headers of [`own_headers`].
    #[must_use]
    pub fn into_answer(self, request: RequestId) -> Answer {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        answer
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        own_headers(&mut answer, request);
        answer
    }
}

/// What every answer of the gateway's own carries: `X-Request-Id`, `Cache-Control: no-store`, `nosniff`.
pub fn own_headers<B>(answer: &mut Response<B>, request: RequestId) {
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(HeaderName::from_static("x-request-id"), request.header());
}
