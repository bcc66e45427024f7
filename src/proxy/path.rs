//! The path that decisions are taken on, and the other ways in which an application may read the same bytes.
//!
//! The original bytes are forwarded; what is computed here only selects a rule. RFC 3986, 6.2.2; "Breaking parser
//! logic" (path parameters, double decoding) for the readings.

use std::borrow::Cow;

/// Why a path cannot be decided on: the request is refused with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// No leading slash, a byte that no path has, or `%` without two hex digits.
    Malformed,
    /// A control character, NUL among them, plain or encoded.
    Control,
    /// A `.` or `..` segment, plain, encoded or with parameters behind it.
    DotSegment,
}

/// A path in the form that rules are looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionPath<'a> {
    /// Percent-decoded once; an encoded slash stays as `%2F`, an encoded or plain backslash as `%5C`.
    pub text: Cow<'a, [u8]>,
    /// It had `%2F`, `%5C` or `\`.
    pub has_encoded_slash: bool,
    /// It had two slashes in a row.
    pub has_double_slash: bool,
    /// Whether another reading can differ at all: it has upper case, `;`, `%`, or a segment that ends in a dot or space.
    pub has_readings: bool,
}

/// One way in which an application changes a path before it looks at it.
type Step = fn(&[u8]) -> Vec<u8>;

impl<'a> DecisionPath<'a> {
    /// Reads the path part of a request target (no query).
    ///
    /// # Errors
    /// [`PathFault`] for what no rule can be applied to.
    pub fn parse(raw: &'a str) -> Result<Self, PathFault> {
        let raw = raw.as_bytes();
        if raw.first() != Some(&b'/') {
            return Err(PathFault::Malformed);
        }
        let plain = raw.iter().all(|byte| is_plain(*byte));
        let text = if plain {
            Cow::Borrowed(raw)
        } else {
            Cow::Owned(decode_once(raw)?)
        };
        let mut path = Self {
            has_encoded_slash: false,
            has_double_slash: false,
            has_readings: false,
            text,
        };
        path.has_encoded_slash = !plain && (contains(&path.text, b"%2F") || contains(&path.text, b"%5C"));
        path.inspect_segments()?;
        Ok(path)
    }

    fn inspect_segments(&mut self) -> Result<(), PathFault> {
        let mut readings = false;
        let mut empty_before = false;
        for segment in self.text[1..].split(|byte| *byte == b'/') {
            if empty_before {
                self.has_double_slash = true;
            }
            empty_before = segment.is_empty();
            let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
            if matches!(name, b"." | b"..") {
                return Err(PathFault::DotSegment);
            }
            readings |= segment.last().is_some_and(|last| matches!(last, b'.' | b' '))
                || segment
                    .iter()
                    .any(|byte| byte.is_ascii_uppercase() || matches!(byte, b';' | b'%'))
                || name.last().is_some_and(|last| matches!(last, b'.' | b' '));
        }
        self.has_readings = readings || self.has_double_slash;
        Ok(())
    }

    /// The other readings, each a different text. `fold` allows the reading with case folded, `parameters` the one with
    /// `;…` cut.
    #[must_use]
    pub fn readings(&self, fold: bool, parameters: bool) -> Vec<Vec<u8>> {
        if !self.has_readings {
            return Vec::new();
        }
        // A second decoding may reveal what every other step acts on; without it each step needs its own sign.
        let has = |byte: u8| self.text.contains(&byte);
        let decodes = has(b'%');
        let steps: [(bool, Step); 7] = [
            (parameters && has(b';'), cut_parameters),
            (true, cut_trailing),
            (decodes, decode_again),
            (parameters && decodes, cut_parameters),
            (decodes, cut_trailing),
            (decodes || self.has_double_slash || has(b';'), merge_slashes),
            (fold, lower),
        ];
        let steps: Vec<_> = steps
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, step)| step)
            .collect();
        let mut found: Vec<Vec<u8>> = Vec::new();
        // Every subset, in the order in which applications apply them: what one step reveals, the next may cut.
        for subset in 1_u32..1 << steps.len() {
            let mut text = self.text.to_vec();
            for (index, step) in steps.iter().enumerate() {
                if subset & (1 << index) != 0 {
                    text = step(&text);
                }
            }
            let text = resolve_dots(&text);
            if text != *self.text && !found.contains(&text) {
                found.push(text);
            }
        }
        found
    }
}

/// Bytes that stand for themselves in every reading but case folding, `;` and dots.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'%' | b'\\' | b'#' | b'?')
}

fn decode_once(raw: &[u8]) -> Result<Vec<u8>, PathFault> {
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let value = hex_pair(rest).ok_or(PathFault::Malformed)?;
                rest = &rest[2..];
                push_decoded(&mut text, value)?;
            }
            b'\\' => text.extend_from_slice(b"%5C"),
            0..=0x1f | 0x7f => return Err(PathFault::Control),
            b'#' | b'?' | b' ' | 0x80.. => return Err(PathFault::Malformed),
            _ => text.push(byte),
        }
    }
    Ok(text)
}

fn push_decoded(text: &mut Vec<u8>, value: u8) -> Result<(), PathFault> {
    match value {
        0..=0x1f | 0x7f => return Err(PathFault::Control),
        b'/' => text.extend_from_slice(b"%2F"),
        b'\\' => text.extend_from_slice(b"%5C"),
        // An encoded percent sign stays told from a plain one, or a second decoding could not be looked at.
        b'%' => text.extend_from_slice(b"%25"),
        _ => text.push(value),
    }
    Ok(())
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    Some(digit(bytes.first()?)? << 4 | digit(bytes.get(1)?)?)
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}

fn map_segments(text: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    for (index, segment) in text.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            result.push(b'/');
        }
        result.extend_from_slice(change(segment));
    }
    result
}

fn cut_parameters(text: &[u8]) -> Vec<u8> {
    map_segments(text, |segment| {
        segment.split(|byte| *byte == b';').next().unwrap_or_default()
    })
}

fn cut_trailing(text: &[u8]) -> Vec<u8> {
    map_segments(text, |segment| {
        // A segment of dots only is a dot segment, not a name with dots behind it.
        if segment.iter().all(|byte| *byte == b'.') {
            return segment;
        }
        let end = segment
            .iter()
            .rposition(|byte| !matches!(byte, b'.' | b' '))
            .map_or(0, |last| last + 1);
        &segment[..end]
    })
}

/// What an application sees that decodes a second time, or that takes an encoded slash or backslash for a slash.
fn decode_again(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, hex_pair(rest)) {
            (b'%', Some(b'%')) => {
                // `%25` is the once-decoded `%`; what stands behind it may be the second layer: `%252e`.
                rest = &rest[2..];
                if let Some(value) = hex_pair(rest) {
                    rest = &rest[2..];
                    result.push(if value == b'\\' { b'/' } else { value });
                } else {
                    result.push(b'%');
                }
            }
            (b'%', Some(value)) => {
                rest = &rest[2..];
                result.push(if value == b'\\' { b'/' } else { value });
            }
            _ => result.push(byte),
        }
    }
    result
}

fn merge_slashes(text: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(text.len());
    for byte in text {
        if *byte != b'/' || result.last() != Some(&b'/') {
            result.push(*byte);
        }
    }
    result
}

fn lower(text: &[u8]) -> Vec<u8> {
    text.to_ascii_lowercase()
}

fn resolve_dots(text: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = text.split(|byte| *byte == b'/').skip(1).collect();
    let count = segments.len();
    for (index, segment) in segments.into_iter().enumerate() {
        let last = index + 1 == count;
        match segment {
            b"." if last => kept.push(b""),
            b"." => {}
            b".." => {
                kept.pop();
                if last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    let mut result = Vec::with_capacity(text.len());
    for segment in kept {
        result.push(b'/');
        result.extend_from_slice(segment);
    }
    if result.is_empty() {
        result.push(b'/');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{DecisionPath, PathFault};

    fn readings(raw: &str) -> Vec<String> {
        let path = DecisionPath::parse(raw).unwrap();
        path.readings(true, true)
            .into_iter()
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    #[test]
    fn a_plain_path_is_borrowed_and_has_one_reading() {
        let path = DecisionPath::parse("/a/b-c_d.html").unwrap();
        assert!(matches!(path.text, std::borrow::Cow::Borrowed(_)));
        assert!(!path.has_readings && path.readings(true, true).is_empty());
    }

    #[test]
    fn what_cannot_be_decided_on_is_refused() {
        for (raw, fault) in [
            ("a", PathFault::Malformed),
            ("", PathFault::Malformed),
            ("/%", PathFault::Malformed),
            ("/%2", PathFault::Malformed),
            ("/%zz", PathFault::Malformed),
            ("/a b", PathFault::Malformed),
            ("/a#b", PathFault::Malformed),
            ("/%00", PathFault::Control),
            ("/%0d%0a", PathFault::Control),
            ("/%7f", PathFault::Control),
            ("/a/../b", PathFault::DotSegment),
            ("/a/./b", PathFault::DotSegment),
            ("/a/%2e%2E/b", PathFault::DotSegment),
            ("/a/.%2e", PathFault::DotSegment),
            ("/a/..;x=1/b", PathFault::DotSegment),
            ("/..", PathFault::DotSegment),
        ] {
            assert_eq!(DecisionPath::parse(raw).err(), Some(fault), "{raw}");
        }
    }

    #[test]
    fn encoded_and_double_slashes_are_noticed() {
        for raw in ["/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b"] {
            assert!(DecisionPath::parse(raw).unwrap().has_encoded_slash, "{raw}");
        }
        for raw in ["//", "//a", "/a//b", "/a//"] {
            assert!(DecisionPath::parse(raw).unwrap().has_double_slash, "{raw}");
        }
        for raw in ["/", "/a", "/a/", "/a/b/"] {
            assert!(!DecisionPath::parse(raw).unwrap().has_double_slash, "{raw}");
        }
    }

    #[test]
    fn every_known_way_to_hide_a_path_is_among_its_readings() {
        for (raw, hidden) in [
            ("/ADMIN", "/admin"),
            ("/admin;x=1", "/admin"),
            ("/x;/admin", "/x/admin"),
            ("/admin.", "/admin"),
            ("/admin%20", "/admin"),
            ("/%2561dmin", "/admin"),
            ("/a/%252e%252e/admin", "/admin"),
            ("/a/..%2fadmin", "/admin"),
            ("/a%2f..%2f..%2fadmin", "/admin"),
            ("/a/..%5cadmin", "/admin"),
            ("/a/%252e%252e;x/admin", "/admin"),
            ("//admin", "/admin"),
            ("/AdMin.;x", "/admin"),
            ("/%2541DMIN", "/admin"),
        ] {
            assert!(
                readings(raw).iter().any(|reading| reading == hidden),
                "{raw}: {:?}",
                readings(raw)
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(raw in ".{0,64}") {
            if let Ok(path) = DecisionPath::parse(&raw) {
                let _ = path.readings(true, true);
            }
        }
    }
}
