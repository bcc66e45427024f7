//! What the guard of heads must never let pass, and what a cut between two reads must never change, for any bytes.

use super::framing::Chunks;
use super::framing::Step;
use super::head::Bounds;
use super::head::Framing;
use super::head::Scan;
use super::head::Verdict;
use http::HeaderName;
use http::HeaderValue;
use http::Method;

const BOUNDS: Bounds = Bounds {
    headers: 8,
    header_bytes: 1_024,
    target_bytes: 128,
};
/// More than the bounds let pass.
const MOST: usize = 4_096;

/// One raw head.
pub(crate) fn head(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let verdict = Scan::default().scan(bytes, &BOUNDS);
    let mut pieces = Scan::default();
    let mut verdicts = cuts(bytes).map(|end| pieces.scan(&bytes[..end], &BOUNDS));
    let in_pieces = verdicts.find(|verdict| *verdict != Verdict::Unfinished);
    assert_eq!(in_pieces.unwrap_or(Verdict::Unfinished), verdict, "a cut changed it");
    if let Verdict::Whole(head) = verdict {
        assert!(head.len <= bytes.len().min(BOUNDS.header_bytes + 1));
        passes(&bytes[..head.len], head.body);
    }
}

/// What no parser behind the guard reads in another way (RFC 9112).
fn passes(head: &[u8], body: Framing) {
    let returns = |pair: &[u8]| (pair[0] == b'\r') == (pair[1] == b'\n');
    assert!(head[0] != b'\n' && head.windows(2).all(returns), "a bare line end");
    let text = head.strip_prefix(b"\r\n").unwrap_or(head);
    let lines: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    let [request, fields @ .., b"", b""] = &lines[..] else {
        unreachable!("a head ends with an empty line");
    };
    let words: Vec<&[u8]> = request.split(|byte| *byte == b' ').collect();
    let [method, target, b"HTTP/1.1" | b"HTTP/1.0"] = words[..] else {
        unreachable!("a request line has three words");
    };
    assert!(Method::from_bytes(method).is_ok());
    assert!(target.len() <= BOUNDS.target_bytes && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#'));
    assert!(fields.len() <= BOUNDS.headers);
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for field in fields {
        let colon = field.iter().position(|byte| *byte == b':').unwrap_or(0);
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name).expect("what passes is a header's name");
        assert!(HeaderValue::from_bytes(value).is_ok());
        match name {
            http::header::CONTENT_LENGTH => lengths.push(value),
            http::header::TRANSFER_ENCODING => codings.push(value),
            _ => {}
        }
    }
    match (&lengths[..], &codings[..]) {
        ([], []) => assert_eq!(body, Framing::Length(0)),
        ([length], []) => {
            assert!(length.iter().all(u8::is_ascii_digit));
            let length = std::str::from_utf8(length).map(str::parse);
            assert_eq!(Ok(Ok(body)), length.map(|length| length.map(Framing::Length)));
        }
        ([], [coding]) => assert!(coding.eq_ignore_ascii_case(b"chunked") && body == Framing::Chunked),
        _ => unreachable!("two lengths of one body"),
    }
}

/// A body in chunks.
pub(crate) fn chunks(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let whole = Chunks::new().follow(bytes, &BOUNDS);
    let (mut pieces, mut from) = (Chunks::new(), 0);
    let mut in_pieces = Step::More;
    for end in cuts(bytes) {
        in_pieces = match pieces.follow(&bytes[from..end], &BOUNDS) {
            Step::More => Step::More,
            Step::Done(at) => Step::Done(from + at),
            Step::Broken(at, why) => Step::Broken(from + at, why),
        };
        if in_pieces != Step::More {
            break;
        }
        from = end;
    }
    assert_eq!(in_pieces, whole, "a cut changed it");
    if let Step::Done(len) = whole {
        assert!(bytes[..len].ends_with(b"\r\n") && bytes[0].is_ascii_hexdigit());
        assert_eq!(
            Chunks::new().follow(&bytes[..len], &BOUNDS),
            whole,
            "what comes behind it counts"
        );
    }
}

/// Ends of pieces that differ from input to input, the last one at the end.
fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let step = 1 + bytes.len() % 13;
    (0..bytes.len()).step_by(step).skip(1).chain([bytes.len()])
}
