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
    /// A `.` or `..` segment, plain, encoded, with parameters or with more dots and spaces behind it.
    DotSegment,
    /// So long and of so many readings that looking at all of them would cost more than a request may.
    TooManyReadings,
}

/// A path in the form that rules are looked up by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a sign of its own that decides on one reading"
)]
pub struct DecisionPath<'a> {
    /// Percent-decoded once; an encoded slash stays as `%2F`, an encoded or plain backslash as `%5C`.
    pub text: Cow<'a, [u8]>,
    /// It had `%2F`, `%5C` or `\`.
    pub has_encoded_slash: bool,
    /// It had two slashes in a row.
    pub has_double_slash: bool,
    /// Whether folding case can change it: it has upper case, or letters outside ASCII.
    pub has_case: bool,
    /// A segment ends in a dot or space.
    has_trailing: bool,
    /// It has `;`.
    has_parameters: bool,
    /// It has a `%` left: a second decoding may reveal what every other step acts on.
    decodes: bool,
}

/// Most bytes that are gone through for the readings of one path: an everyday path of several kilobytes has few readings,
/// and this many bytes take less than half a millisecond.
const MOST_WORK: usize = 128 * 1024;

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
            has_case: false,
            has_trailing: false,
            has_parameters: false,
            decodes: false,
            text,
        };
        path.has_encoded_slash = !plain && (contains(&path.text, b"%2F") || contains(&path.text, b"%5C"));
        path.inspect_segments()?;
        Ok(path)
    }

    fn inspect_segments(&mut self) -> Result<(), PathFault> {
        let mut empty_before = false;
        for segment in self.text[1..].split(|byte| *byte == b'/') {
            self.has_double_slash |= empty_before;
            empty_before = segment.is_empty();
            let name = before_parameters(segment);
            if is_dots(name) {
                return Err(PathFault::DotSegment);
            }
            self.has_parameters |= name.len() < segment.len();
            self.has_trailing |= ends_in_dot_or_space(segment) || ends_in_dot_or_space(name);
            for byte in segment {
                self.has_case |= byte.is_ascii_uppercase() || !byte.is_ascii();
                self.decodes |= *byte == b'%';
            }
        }
        Ok(())
    }

    /// The other readings, each a different text, all with their case as it is; [`fold`] gives the ones without case.
    /// `parameters` allows the readings with `;…` cut.
    ///
    /// # Errors
    /// [`PathFault`] when there are too many, or one of them is what no rule can be applied to.
    pub fn readings(&self, parameters: bool) -> Result<Vec<Vec<u8>>, PathFault> {
        let cuts = parameters && self.has_parameters;
        if !(cuts || self.has_trailing || self.decodes || self.has_double_slash) {
            return Ok(Vec::new());
        }
        let steps: [(bool, Step); 6] = [
            (cuts, cut_parameters),
            (self.has_trailing, cut_trailing),
            (self.decodes, decode_again),
            (parameters && self.decodes, cut_parameters),
            (self.decodes, cut_trailing),
            (true, merge_slashes),
        ];
        // Every subset of the steps, in the order in which applications apply them: what one reveals, the next may cut.
        let mut texts: Vec<Vec<u8>> = vec![self.text.to_vec()];
        let mut work = 0;
        for (_, step) in steps.into_iter().filter(|(wanted, _)| *wanted) {
            for index in 0..texts.len() {
                work += texts[index].len();
                if work > MOST_WORK {
                    return Err(PathFault::TooManyReadings);
                }
                let changed = step(&texts[index]);
                if !texts.contains(&changed) {
                    texts.push(changed);
                }
            }
        }
        let mut found: Vec<Vec<u8>> = Vec::new();
        for text in texts {
            if has_overlong(&text) {
                return Err(PathFault::Malformed);
            }
            let text = resolve_dots(&text);
            if text != *self.text && !found.contains(&text) {
                found.push(text);
            }
        }
        Ok(found)
    }
}

/// The text without case, as applications that fold it compare it: simple mappings of each letter, so that a letter that
/// only upper or lower case makes an ASCII one (the Kelvin sign, the long s, the dotless i) is that one.
#[must_use]
pub fn fold(text: &[u8]) -> Vec<u8> {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = Vec::with_capacity(text.len());
    for piece in text.utf8_chunks() {
        let letters = piece.valid().chars().flat_map(char::to_uppercase);
        for letter in letters.flat_map(char::to_lowercase) {
            folded.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
        folded.extend_from_slice(piece.invalid());
    }
    folded
}

fn before_parameters(segment: &[u8]) -> &[u8] {
    segment.split(|byte| *byte == b';').next().unwrap_or_default()
}

const fn ends_in_dot_or_space(name: &[u8]) -> bool {
    matches!(name.last(), Some(b'.' | b' '))
}

/// `.`, `..`, and what file systems take for them: more dots, and spaces behind.
fn is_dots(name: &[u8]) -> bool {
    name.contains(&b'.') && name.iter().all(|byte| matches!(byte, b'.' | b' '))
}

/// UTF-8 that says in two or three bytes what one says: some decoders take `C0 AE` for a dot (RFC 3629, 10).
fn has_overlong(text: &[u8]) -> bool {
    text.windows(2).any(|pair| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]
        )
    })
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
    if has_overlong(&text) {
        return Err(PathFault::Malformed);
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
    map_segments(text, before_parameters)
}

fn cut_trailing(text: &[u8]) -> Vec<u8> {
    map_segments(text, |segment| {
        // A segment of dots is a dot segment, with spaces behind it or not, and no name with dots behind it.
        let dots = is_dots(segment);
        let end = segment
            .iter()
            .rposition(|byte| !(*byte == b' ' || (*byte == b'.' && !dots)))
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
    use super::{DecisionPath, PathFault, fold};

    fn readings(raw: &str) -> Vec<String> {
        let path = DecisionPath::parse(raw).unwrap();
        let mut readings = path.readings(true).unwrap();
        readings.push(path.text.to_vec());
        readings.extend(readings.clone().iter().map(|text| fold(text)));
        readings
            .into_iter()
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    #[test]
    fn a_plain_path_is_borrowed_and_has_one_reading() {
        let path = DecisionPath::parse("/a/b-c_d.html").unwrap();
        assert!(matches!(path.text, std::borrow::Cow::Borrowed(_)));
        assert!(!path.has_case && path.readings(true).unwrap().is_empty());
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
            ("/a/..%20/b", PathFault::DotSegment),
            ("/a/...", PathFault::DotSegment),
            ("/a/.%20;x/b", PathFault::DotSegment),
            ("/a/%c0%ae%c0%ae/b", PathFault::Malformed),
            ("/a/%e0%80%ae/b", PathFault::Malformed),
            ("/a/%f0%80%80%ae/b", PathFault::Malformed),
            ("/a/%u002e%u002e/b", PathFault::Malformed),
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
            ("/a/%252e%252e%2520/admin", "/admin"),
            ("/%C5%BFtaff", "/staff"),
            ("/boo%E2%84%AA%FF/x", "/book\u{fffd}/x"),
            ("/adm%C4%B1n", "/admin"),
        ] {
            assert!(
                readings(raw).iter().any(|reading| reading == hidden),
                "{raw}: {:?}",
                readings(raw)
            );
        }
    }

    #[test]
    fn a_path_of_too_many_readings_is_refused_and_a_long_everyday_one_is_not() {
        let mixed = "%253b./%2525;x%20//".repeat(430);
        let mixed = format!("/{mixed}");
        let path = DecisionPath::parse(&mixed).unwrap();
        assert_eq!(path.readings(true), Err(PathFault::TooManyReadings));
        for everyday in [
            "/Some-Name.html",
            "/a%20name",
            "/key;v=1",
            "/caf%C3%A9",
            "/a%2Fb",
            "/50%25",
        ] {
            let path = everyday.repeat(8192 / everyday.len());
            assert!(DecisionPath::parse(&path).unwrap().readings(true).is_ok(), "{everyday}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(raw in ".{0,64}") {
            if let Ok(path) = DecisionPath::parse(&raw) {
                let _ = path.readings(true);
            }
        }

        #[test]
        fn a_peculiar_path_makes_it_neither_panic_nor_work_for_long(raw in "(%25|%252e|%2f|%5c|;|/|\\.|%20|[A-Z]|%2525|%253b|x){0,250}") {
            if let Ok(path) = DecisionPath::parse(&format!("/{raw}"))
                && let Ok(found) = path.readings(true)
            {
                proptest::prop_assert!(found.len() <= 64);
            }
        }
    }
}
