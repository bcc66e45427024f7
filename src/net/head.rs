//! One raw HTTP/1 request head: is it complete, and may it pass? Pure and incremental: the verdict does not depend on
//! how the bytes were cut into reads.
//!
//! It is stricter than hyper, httparse and `http` together (a test holds that), so that hyper never has to refuse.

use crate::web::Fault;
use http::Uri;
use memchr::memchr;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Header lines.
    pub headers: usize,
    /// Bytes of the whole head.
    pub header_bytes: usize,
    /// Bytes of the request target.
    pub target_bytes: usize,
}

/// What the bytes so far say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No complete head yet, and nothing wrong so far.
    Unfinished,
    /// A complete head that may pass.
    Whole(Head),
    /// A head that must not reach hyper.
    Refused(Fault),
}

/// What must be known of a head to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its bytes, the empty line included.
    pub len: usize,
    /// What follows.
    pub body: Framing,
    /// HTTP/1.1 with an `Upgrade` header: what comes after the message may be no HTTP.
    pub upgrade: bool,
}

/// How the body is delimited (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; zero without a body.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// Room for method, version and separators beside the target.
const REQUEST_LINE_REST: usize = 64;
/// A longer name is no header's; `http` takes less than 64 KiB.
const NAME_BYTES: usize = 256;
/// `http::Uri` takes no more.
const URI_BYTES: usize = 65_534;
/// Digits of a Content-Length that cannot overflow.
const LENGTH_DIGITS: usize = 18;

const TOKEN: u8 = 1;
const PATH: u8 = 2;
const QUERY: u8 = 4;

/// Which byte may stand where. Path and query follow `http::Uri`, less `#` and everything outside ASCII.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        let mut class = 0;
        if byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        if matches!(byte, 0x21 | 0x24..=0x3B | 0x3D | 0x3F..=0x5F | 0x61..=0x7E | b'"') {
            class |= PATH;
        }
        if matches!(byte, 0x21 | 0x24..=0x3B | 0x3D | 0x3F..=0x7E) {
            class |= QUERY;
        }
        table[byte as usize] = class;
        byte += 1;
    }
    table
}

pub(super) fn is_token(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

/// Whether a byte may stand in a field value: no control but the tab (RFC 9110, 5.5).
pub(super) const fn is_value(byte: u8) -> bool {
    (byte >= 0x20 || byte == b'\t') && byte != 0x7f
}

fn all(class: u8, bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| CLASSES[usize::from(byte)] & class != 0)
}

/// Without an early exit, so that the compiler checks sixteen bytes at a time: values are most of a head.
fn all_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, &byte| good & is_value(byte))
}

/// The state of one head between reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    /// Where the line under way begins.
    at: usize,
    /// No line feed from `at` to here.
    searched: usize,
    lines: usize,
    place: Place,
    newer: bool,
    hosts: usize,
    length: Option<u64>,
    coding: Option<Coding>,
    upgrade: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    /// After the one empty line that is forgiven before a request line (RFC 9112, 2.2).
    Blank,
    Headers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Unknown,
}

const fn malformed<T>(why: &'static str) -> Result<T, Fault> {
    Err(Fault::Malformed(why))
}

impl Scan {
    /// Looks at `head`, all bytes since the head's first; later calls bring the same bytes and more.
    pub fn scan(&mut self, head: &[u8], bounds: &Bounds) -> Verdict {
        loop {
            let found = memchr(b'\n', &head[self.searched..]);
            let upto = found.map_or(head.len(), |offset| self.searched + offset);
            if let Some(fault) = self.not_http(head).or_else(|| self.too_long(upto, bounds)) {
                return Verdict::Refused(fault);
            }
            if found.is_none() {
                self.searched = upto;
                return Verdict::Unfinished;
            }
            let line = &head[self.at..upto];
            self.at = upto + 1;
            self.searched = self.at;
            match self.line(line, bounds) {
                Ok(None) => {}
                Ok(Some(body)) => {
                    let (len, upgrade) = (self.at, self.upgrade && self.newer);
                    return Verdict::Whole(Head { len, body, upgrade });
                }
                Err(fault) => return Verdict::Refused(fault),
            }
        }
    }

    /// Told by the first byte, so that a TLS client on a plain port need not wait for the deadline.
    fn not_http(&self, head: &[u8]) -> Option<Fault> {
        let first = *head.get(self.at)?;
        (self.place != Place::Headers && first != b'\r' && !is_token(first)).then_some(Fault::Malformed("no HTTP"))
    }

    /// Asked before a line's content is looked at, so that a cut inside the line changes nothing.
    fn too_long(&self, upto: usize, bounds: &Bounds) -> Option<Fault> {
        if self.place == Place::Headers {
            return (upto >= bounds.header_bytes).then_some(Fault::HeadTooLarge);
        }
        let longest = bounds.target_bytes.saturating_add(REQUEST_LINE_REST);
        (upto >= bounds.header_bytes || upto - self.at > longest).then_some(Fault::TargetTooLong)
    }

    /// One line without its line feed; the framing when it was the last.
    fn line(&mut self, line: &[u8], bounds: &Bounds) -> Result<Option<Framing>, Fault> {
        let Some((b'\r', line)) = line.split_last() else {
            return malformed("bare line feed");
        };
        if self.place != Place::Headers {
            if line.is_empty() && self.place == Place::Start {
                self.place = Place::Blank;
                return Ok(None);
            }
            self.place = Place::Headers;
            self.newer = request_line(line, bounds)?;
            return Ok(None);
        }
        if line.is_empty() {
            return self.end().map(Some);
        }
        self.lines += 1;
        if self.lines > bounds.headers {
            return Err(Fault::HeadTooLarge);
        }
        self.header(line)?;
        Ok(None)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Fault> {
        if matches!(line[0], b' ' | b'\t') {
            return malformed("folded header line");
        }
        let Some(colon) = memchr(b':', line) else {
            return malformed("header line without a colon");
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || !all(TOKEN, name) {
            return malformed("header name");
        }
        if name.len() > NAME_BYTES {
            return Err(Fault::HeadTooLarge);
        }
        if !all_value(value) {
            return malformed("control character in a header value");
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => self.set_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.set_coding(value)?,
            _ => {}
        }
        Ok(())
    }

    fn set_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        match self.length.replace(content_length(value)?) {
            None => Ok(()),
            Some(_) => malformed("repeated content-length"),
        }
    }

    fn set_coding(&mut self, value: &[u8]) -> Result<(), Fault> {
        match self.coding.replace(transfer_coding(value)?) {
            None => Ok(()),
            Some(_) => malformed("repeated transfer-encoding"),
        }
    }

    fn end(&self) -> Result<Framing, Fault> {
        if self.hosts > 1 {
            return malformed("repeated host");
        }
        if self.newer && self.hosts == 0 {
            return malformed("no host");
        }
        match (self.length, self.coding) {
            (length, None) => Ok(Framing::Length(length.unwrap_or(0))),
            (Some(_), Some(_)) => malformed("content-length with transfer-encoding"),
            (None, Some(_)) if !self.newer => malformed("transfer-encoding on HTTP/1.0"),
            (None, Some(Coding::Unknown)) => Err(Fault::UnknownTransferCoding),
            (None, Some(Coding::Chunked)) => Ok(Framing::Chunked),
        }
    }
}

/// Whether it is HTTP/1.1.
fn request_line(line: &[u8], bounds: &Bounds) -> Result<bool, Fault> {
    let Some(space) = memchr(b' ', line) else {
        return malformed("request line");
    };
    let (method, rest) = (&line[..space], &line[space + 1..]);
    if method.is_empty() || !all(TOKEN, method) {
        return malformed("method");
    }
    let (target, newer) = if let Some(target) = rest.strip_suffix(b" HTTP/1.1") {
        (target, true)
    } else if let Some(target) = rest.strip_suffix(b" HTTP/1.0") {
        (target, false)
    } else {
        return malformed("version");
    };
    if target.len() > bounds.target_bytes.min(URI_BYTES) {
        return Err(Fault::TargetTooLong);
    }
    if is_target(method, target) {
        Ok(newer)
    } else {
        malformed("request target")
    }
}

/// The four forms of RFC 9112, 3.2.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    match target {
        [b'/', ..] => is_path_and_query(target),
        b"*" => method == b"OPTIONS",
        _ if method == b"CONNECT" => {
            all(PATH, target)
                && Uri::try_from(target).is_ok_and(|uri| uri.authority().is_some() && uri.scheme().is_none())
        }
        _ => {
            let scheme = memchr(b':', target).map_or(&[][..], |colon| &target[..colon]);
            (scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https"))
                && all(PATH | QUERY, target)
                && Uri::try_from(target).is_ok_and(|uri| uri.authority().is_some() && uri.scheme().is_some())
        }
    }
}

/// Whether a target of HTTP/2 may stand in a request line. `http` takes bytes there that no HTTP/1 head may have.
pub(super) fn is_http1_target(target: &[u8]) -> bool {
    all(PATH | QUERY, target)
}

fn is_path_and_query(target: &[u8]) -> bool {
    match memchr(b'?', target) {
        Some(mark) => all(PATH, &target[..mark]) && all(QUERY, &target[mark..]),
        None => all(PATH, target),
    }
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let digits = value.trim_ascii();
    if digits.is_empty() || digits.len() > LENGTH_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return malformed("content-length");
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// `chunked` alone is understood; a list that ends in it may be a coding that we do not know, anything else is an attack
/// or a mistake (RFC 9112, 6.1).
fn transfer_coding(value: &[u8]) -> Result<Coding, Fault> {
    if value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Ok(Coding::Chunked);
    }
    let mut chunked_seen = false;
    for coding in value.split(|&byte| byte == b',') {
        let coding = coding.trim_ascii();
        if chunked_seen || coding.is_empty() || !all(TOKEN, coding) {
            return malformed("transfer-encoding");
        }
        chunked_seen = coding.eq_ignore_ascii_case(b"chunked");
    }
    Ok(Coding::Unknown)
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use super::Framing;
    use super::Scan;
    use super::Verdict;
    use crate::web::Fault;
    use http::HeaderName;
    use http::HeaderValue;
    use http::Method;
    use http::Uri;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        headers: 4,
        header_bytes: 160,
        target_bytes: 24,
    };

    fn scan(head: &[u8]) -> Verdict {
        Scan::default().scan(head, &BOUNDS)
    }

    /// What a simple reader of RFC 9112 takes, line by line: the oracle for [`Scan`].
    fn strictly(head: &[u8]) -> Option<Framing> {
        let text = head.strip_suffix(b"\r\n\r\n")?;
        let text = text.strip_prefix(b"\r\n").unwrap_or(text);
        let text: String = text.iter().copied().map(char::from).collect();
        let mut lines = text.split("\r\n");
        let request: Vec<&str> = lines.next()?.split(' ').collect();
        let [method, target, version] = request[..] else {
            return None;
        };
        Method::from_bytes(method.as_bytes()).ok()?;
        if target.contains(|it: char| it == '#' || !it.is_ascii_graphic()) || target.len() > BOUNDS.target_bytes {
            return None;
        }
        target.parse::<Uri>().ok()?;
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return None;
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':')?;
            HeaderName::from_bytes(name.as_bytes()).ok()?;
            if value.contains(|it: char| it != '\t' && it.is_ascii_control()) {
                return None;
            }
            headers.push((
                name.to_ascii_lowercase(),
                value.trim_matches([' ', '\t']).to_ascii_lowercase(),
            ));
        }
        let all = |name: &str| -> Vec<&str> {
            let found = headers.iter().filter(|(found, _)| found == name);
            found.map(|(_, value)| value.as_str()).collect()
        };
        let hosts = all("host").len();
        if headers.len() > BOUNDS.headers || hosts > 1 || (version == "HTTP/1.1" && hosts == 0) {
            return None;
        }
        match (&all("content-length")[..], &all("transfer-encoding")[..]) {
            ([], []) => Some(Framing::Length(0)),
            ([length], []) if length.bytes().all(|digit| digit.is_ascii_digit()) => {
                length.parse().ok().map(Framing::Length)
            }
            ([], ["chunked"]) if version == "HTTP/1.1" => Some(Framing::Chunked),
            _ => None,
        }
    }

    /// Heads that are nearly right, so that both verdicts come often.
    fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
        let start = prop_oneof![8 => Just(""), 2 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r\n\r\n")];
        let method =
            prop_oneof![4 => Just("GET"), 1 => Just("OPTIONS"), 1 => Just("CONNECT"), 1 => Just("G T"), 1 => Just("")];
        let target = prop_oneof![4 => "/[a-z?#%]{0,6}", 1 => "[!-~]{0,8}", 1 => Just("*".to_owned()), 1 => "http://[a-z/:@]{0,8}", 1 => "/[a-z]{20,30}"];
        let version =
            prop_oneof![8 => Just("HTTP/1.1"), 2 => Just("HTTP/1.0"), 1 => Just("HTTP/1.2"), 1 => Just("HTTP/1.1 ")];
        let end = || {
            prop_oneof![
                60 => Just("\r\n"),
                1 => Just("\n"),
                1 => Just("\r"),
                1 => Just("\r\n "),
                1 => Just("\r\r\n"),
            ]
        };
        let line = prop_oneof![
            8 => Just("Host: a".to_owned()),
            4 => "Content-Length: ?[0-9]{1,2}",
            4 => Just("transfer-encoding:chunked".to_owned()),
            1 => "Content-Length:[0-9, +-]{0,3}",
            1 => "Transfer-Encoding:[a-z, ]{0,9}",
            1 => "[A-Za-z-]{1,6}: [ -~]{0,6}",
            1 => "[ -~]{0,3} ?:[\t -~\x01\x7f\r\n]{0,4}",
            1 => "[ -~]{0,6}",
        ];
        let header = (line, end()).prop_map(|(line, end)| format!("{line}{end}"));
        let headers = prop::collection::vec(header, 0..5).prop_map(|lines| lines.concat());
        (start, method, target, version, end(), headers, end()).prop_map(
            |(start, method, target, version, first, headers, last)| {
                format!("{start}{method} {target} {version}{first}{headers}{last}").into_bytes()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn nothing_passes_that_a_strict_reader_refuses(head in nearly_a_head(), noise in prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()))) {
            let mut head = head;
            if let Some((at, byte)) = noise && !head.is_empty() {
                let at = at.index(head.len());
                head[at] = byte;
            }
            if let Verdict::Whole(whole) = scan(&head) {
                prop_assert_eq!(strictly(&head[..whole.len]), Some(whole.body), "{}", head.escape_ascii());
            }
        }

        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_were_cut(head in nearly_a_head(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(head.len() + 1)).collect();
            ends.sort_unstable();
            ends.push(head.len());
            let mut pieces = Scan::default();
            let verdicts = ends.iter().map(|end| pieces.scan(&head[..*end], &BOUNDS));
            let in_pieces = verdicts.into_iter().find(|verdict| *verdict != Verdict::Unfinished);
            prop_assert_eq!(in_pieces.unwrap_or(Verdict::Unfinished), scan(&head), "{}", head.escape_ascii());
        }
    }

    #[test]
    fn every_byte_that_passes_is_one_that_the_parsers_behind_take() {
        for byte in 0..=255_u8 {
            let passes = |head: &[&[u8]]| matches!(scan(&head.concat()), Verdict::Whole(_));
            let rest: &[u8] = b" HTTP/1.1\r\nhost: a\r\n\r\n";
            if passes(&[b"GET /", &[byte], rest]) {
                let uri = Uri::try_from(&[b'/', byte][..]).unwrap();
                assert_eq!(
                    uri.path_and_query().unwrap().as_str().as_bytes(),
                    [b'/', byte],
                    "{byte}"
                );
            }
            if passes(&[b"GET /?", &[byte], rest]) {
                let uri = Uri::try_from(&[b'/', b'?', byte][..]).unwrap();
                assert_eq!(
                    uri.path_and_query().unwrap().as_str().as_bytes(),
                    [b'/', b'?', byte],
                    "{byte}"
                );
            }
            let method = passes(&[&[b'A', byte], b" /", rest]);
            assert_eq!(method, Method::from_bytes(&[b'A', byte]).is_ok(), "{byte}");
            let lines: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n";
            let name = passes(&[lines, &[b'a', byte], b":\r\n\r\n"]);
            assert_eq!(
                name,
                HeaderName::from_bytes(&[b'a', byte]).is_ok() || byte == b':',
                "{byte}"
            );
            let value = passes(&[lines, b"a:b", &[byte], b"c\r\n\r\n"]);
            assert_eq!(value, HeaderValue::from_bytes(&[b'b', byte, b'c']).is_ok(), "{byte}");
        }
    }

    #[test]
    fn limits_are_told_apart() {
        let line = "GET / HTTP/1.1\r\nhost: a\r\n";
        let refused = |head: String| match scan(head.as_bytes()) {
            Verdict::Refused(fault) => fault,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            refused(format!("GET /{} HTTP/1.1\r\n", "a".repeat(24))),
            Fault::TargetTooLong
        );
        assert_eq!(
            refused("a".repeat(100)),
            Fault::TargetTooLong,
            "a line without an end is not waited for"
        );
        assert_eq!(refused(format!("{line}{}", "a:b\r\n".repeat(4))), Fault::HeadTooLarge);
        assert_eq!(refused(format!("{line}x: {}", "a".repeat(160))), Fault::HeadTooLarge);
        assert_eq!(
            refused(format!("{line}transfer-encoding: gzip\r\n\r\n")),
            Fault::UnknownTransferCoding
        );
    }
}
