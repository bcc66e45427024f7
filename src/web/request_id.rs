use http::HeaderValue;
use std::fmt;

/// Names one request in the log, on the page and towards the application: 128 bits in hex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u128);

impl RequestId {
    /// As a header value: 32 hex digits.
    #[must_use]
    pub fn header(self) -> HeaderValue {
        let mut text = [0_u8; 32];
        for (index, place) in text.iter_mut().enumerate() {
            let nibble = u8::try_from((self.0 >> (124 - 4 * index)) & 0xf).unwrap_or(0);
            *place = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn the_header_and_the_text_are_the_same_digits() {
        let id = RequestId(0x0123_4567_89ab_cdef_0fed_cba9_8765_4321);
        assert_eq!(id.header().to_str().unwrap(), id.to_string());
        assert_eq!(id.to_string(), "0123456789abcdef0fedcba987654321");
    }
}
