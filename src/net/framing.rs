//! Chunked framing, followed only to find where the next head begins and to refuse what parsers read in two ways.

use super::head::Bounds;
use super::head::is_token;
use super::head::is_value;

/// Bytes of one chunk's extensions; nobody uses them.
const EXTENSION_BYTES: usize = 256;
/// Hex digits that fit 64 bits.
const SIZE_DIGITS: u8 = 16;

/// Where the bytes given so far led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All of them belong to the body, which goes on.
    More,
    /// The body ended after so many bytes.
    Done(usize),
    /// So many bytes were good, the next is not.
    Broken(usize, &'static str),
}

/// The state of one chunked body between reads.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of the trailer section so far.
    trailer_bytes: usize,
    trailer_lines: usize,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Size { digits: u8, value: u64 },
    Extension { size: u64, len: usize },
    SizeEnd(u64),
    Data(u64),
    DataReturn,
    DataFeed,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerFeed,
    LastFeed,
}

const START: Place = Place::Size { digits: 0, value: 0 };

impl Chunks {
    pub const fn new() -> Self {
        Self {
            place: START,
            trailer_bytes: 0,
            trailer_lines: 0,
        }
    }

    /// Follows `bytes`, which come right after those of the last call.
    pub fn follow(&mut self, bytes: &[u8], bounds: &Bounds) -> Step {
        let mut at = 0;
        while at < bytes.len() {
            if let Place::Data(left) = self.place {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                let left = left - here as u64;
                self.place = if left == 0 {
                    Place::DataReturn
                } else {
                    Place::Data(left)
                };
                continue;
            }
            match self.byte(bytes[at], bounds) {
                Ok(Some(place)) => self.place = place,
                Ok(None) => return Step::Done(at + 1),
                Err(why) => return Step::Broken(at, why),
            }
            at += 1;
        }
        Step::More
    }

    /// The place after one framing byte; `None` after the last.
    fn byte(&mut self, byte: u8, bounds: &Bounds) -> Result<Option<Place>, &'static str> {
        let next = match (self.place, byte) {
            (Place::Size { digits, value }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS {
                    return Err("chunk size too long");
                }
                Place::Size {
                    digits: digits + 1,
                    value: value << 4 | u64::from(hex(byte)),
                }
            }
            (Place::Size { digits: 0, .. }, _) => return Err("chunk size"),
            (Place::Size { value, .. }, b'\r') => Place::SizeEnd(value),
            (Place::Size { value, .. }, b';') => Place::Extension { size: value, len: 0 },
            (Place::Extension { size, .. }, b'\r') => Place::SizeEnd(size),
            (Place::Extension { size, len }, _) if is_value(byte) && len < EXTENSION_BYTES => {
                Place::Extension { size, len: len + 1 }
            }
            (Place::SizeEnd(0), b'\n') => Place::TrailerStart,
            (Place::SizeEnd(size), b'\n') => Place::Data(size),
            (Place::DataReturn, b'\r') => Place::DataFeed,
            (Place::DataFeed, b'\n') => START,
            (Place::LastFeed, b'\n') => return Ok(None),
            (Place::Size { .. } | Place::SizeEnd(_) | Place::DataReturn | Place::DataFeed | Place::LastFeed, _) => {
                return Err("chunk framing");
            }
            (Place::Extension { .. }, _) => return Err("chunk extension"),
            _ => return self.trailer(byte, bounds).map(Some),
        };
        Ok(Some(next))
    }

    fn trailer(&mut self, byte: u8, bounds: &Bounds) -> Result<Place, &'static str> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > bounds.header_bytes {
            return Err("trailer section too large");
        }
        match (self.place, byte) {
            (Place::TrailerStart, b'\r') => Ok(Place::LastFeed),
            (Place::TrailerStart, _) if is_token(byte) => {
                self.trailer_lines += 1;
                if self.trailer_lines > bounds.headers {
                    return Err("too many trailers");
                }
                Ok(Place::TrailerName)
            }
            (Place::TrailerName, b':') => Ok(Place::TrailerValue),
            (Place::TrailerName, _) if is_token(byte) => Ok(Place::TrailerName),
            (Place::TrailerValue, b'\r') => Ok(Place::TrailerFeed),
            (Place::TrailerValue, _) if is_value(byte) => Ok(Place::TrailerValue),
            (Place::TrailerFeed, b'\n') => Ok(Place::TrailerStart),
            _ => Err("trailer"),
        }
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::Bounds;
    use super::Chunks;
    use super::Step;

    const BOUNDS: Bounds = Bounds {
        headers: 3,
        header_bytes: 64,
        target_bytes: 64,
    };

    fn follow(bytes: &[u8]) -> Step {
        Chunks::new().follow(bytes, &BOUNDS)
    }

    #[test]
    fn a_body_ends_after_its_last_chunk_and_trailers() {
        assert_eq!(follow(b"5\r\nhello\r\n0\r\n\r\nGET"), Step::Done(15));
        assert_eq!(
            follow(b"A;x=\"y\"\r\n0123456789\r\n000\r\na: b\r\nc:\r\n\r\n"),
            Step::Done(38)
        );
        assert_eq!(follow(b"5\r\nhello\r\n"), Step::More);
    }

    #[test]
    fn framing_that_parsers_read_in_two_ways_is_refused() {
        for broken in [
            &b"\r\n"[..],
            b"x\r\n",
            b"5 \r\nhello",
            b"0x5\r\nhello",
            b"-5\r\n",
            b"5\nhello",
            b"5\r\nhello0\r\n",
            b"5\r\nhello\n0\r\n",
            b"5\r\nhello\rX",
            b"00000000000000005\r\nhello",
            b"5;a\nb\r\nhello",
            b"5;a\0b\r\nhello",
            b"5;a\rb\r\nhello",
            b"0\r\n a: folded\r\n\r\n",
            b"0\r\na : b\r\n\r\n",
            b"0\r\na: b\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\na\r\n\r\n",
            b"0\r\n\n",
            b"0\r\na:1\r\nb:2\r\nc:3\r\nd:4\r\n\r\n",
        ] {
            assert!(
                matches!(follow(broken), Step::Broken(..)),
                "{:?}",
                broken.escape_ascii().to_string()
            );
        }
        let long_extension = [b"5;".to_vec(), vec![b'a'; 300], b"\r\nhello\r\n".to_vec()].concat();
        assert!(matches!(follow(&long_extension), Step::Broken(..)));
        let long_trailer = [b"0\r\na:".to_vec(), vec![b'a'; 64], b"\r\n\r\n".to_vec()].concat();
        assert!(matches!(follow(&long_trailer), Step::Broken(..)));
    }

    #[test]
    fn a_cut_anywhere_changes_nothing() {
        let whole = b"5;ext\r\nhello\r\n1\r\n!\r\n0\r\nname: value\r\n\r\n";
        for cut in 0..whole.len() {
            let mut chunks = Chunks::new();
            assert_eq!(chunks.follow(&whole[..cut], &BOUNDS), Step::More);
            assert_eq!(chunks.follow(&whole[cut..], &BOUNDS), Step::Done(whole.len() - cut));
        }
    }
}
