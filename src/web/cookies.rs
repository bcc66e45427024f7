use http::HeaderMap;
use http::header::COOKIE;
use http::header::SET_COOKIE;
use memchr::memchr;

/// The name=value pairs of one Cookie header value, as bytes, in order; white space around them is cut, a pair without
/// `=` has an empty name (RFC 6265bis, 5.6.3).
pub struct CookiePairs<'a>(Option<&'a [u8]>);

impl<'a> CookiePairs<'a> {
    /// Reads `value`, the text of one Cookie header line.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self(Some(value))
    }
}

impl<'a> Iterator for CookiePairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0?;
        let end = memchr(b';', rest);
        self.0 = end.map(|end| &rest[end + 1..]);
        let pair = end.map_or(rest, |end| &rest[..end]);
        Some(match memchr(b'=', pair) {
            Some(at) => (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()),
            None => (&[], pair.trim_ascii()),
        })
    }
}

/// Every value of the cookie `name` in all Cookie lines, in the order they came. Names are compared exactly.
pub fn cookie_values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(COOKIE)
        .into_iter()
        .flat_map(|line| CookiePairs::new(line.as_bytes()))
        .filter(move |(found, _)| *found == name.as_bytes())
        .map(|(_, value)| value)
}

/// Every cookie of a request, in the order in which they came: name and value.
pub fn cookie_pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines.flat_map(|line| CookiePairs::new(line.as_bytes()))
}

/// The cookies that an answer sets: name and value, without attributes.
pub fn set_cookie_pairs(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(SET_COOKIE).into_iter();
    lines.filter_map(|line| CookiePairs::new(line.as_bytes()).next())
}

#[cfg(test)]
mod tests {
    use super::CookiePairs;

    #[test]
    fn pairs_are_cut_at_semicolons_and_the_first_equals_sign() {
        let pairs: Vec<_> = CookiePairs::new(b"a=1; b=x=y ;c; =d").collect();
        let expected: Vec<(&[u8], &[u8])> = vec![(b"a", b"1"), (b"b", b"x=y"), (b"", b"c"), (b"", b"d")];
        assert_eq!(pairs, expected);
    }
}
