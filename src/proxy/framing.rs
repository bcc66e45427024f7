//! The length of bodies in both directions: written by us, read in one way only.

use crate::web::strike;
use http::HeaderMap;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http::header::TRANSFER_ENCODING;

/// Writes the framing of a request. It is written out, because hyper takes a GET without a length for one without a body
/// and would drop the body that there is.
pub fn write_anew(headers: &mut HeaderMap, has_body: bool) {
    if has_body && !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    } else {
        strike(headers, TRANSFER_ENCODING);
    }
}

/// Whether an answer's length can be read in one way only (RFC 9112, 6.3). One with a length and a coding, with two
/// lengths or with a coding that we do not undo would reach the client cut short, and look whole.
#[must_use]
pub fn is_clear(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => true,
        (Some(length), None) => {
            lengths.next().is_none() && !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        (None, Some(coding)) => codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}
