//! Where one event of a `text/event-stream` ends (WHATWG HTML, 9.2.5): after an empty line. Events are not read.

/// Follows a stream of events, so that it can be ended between two of them.
#[derive(Clone, Copy, Debug)]
pub struct Boundary {
    /// The last three bytes; before the first one, as after an empty line.
    tail: [u8; 3],
}

impl Default for Boundary {
    fn default() -> Self {
        Self { tail: *b"\n\n\n" }
    }
}

impl Boundary {
    /// Takes note of `bytes` that were relayed.
    pub fn follow(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(self.tail.len())..] {
            self.push(*byte);
        }
    }

    /// Takes note of `bytes` up to the first boundary within them; how many these are. `None`: of all, and there is none.
    pub fn follow_to_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut pushed = bytes.iter().map(|byte| {
            self.push(*byte);
            self.is_here()
        });
        pushed.position(|here| here).map(|at| at + 1)
    }

    /// Whether no event is under way.
    #[must_use]
    pub const fn is_here(self) -> bool {
        matches!(
            self.tail,
            [b'\r' | b'\n', b'\r', b'\n'] | [_, b'\n', b'\r' | b'\n'] | [_, b'\r', b'\r']
        )
    }

    const fn push(&mut self, byte: u8) {
        self.tail = [self.tail[1], self.tail[2], byte];
    }
}

#[cfg(test)]
mod tests {
    use super::Boundary;

    fn after(text: &str) -> bool {
        let mut boundary = Boundary::default();
        boundary.follow(text.as_bytes());
        boundary.is_here()
    }

    #[test]
    fn an_event_ends_with_an_empty_line_however_lines_end() {
        for text in [
            "",
            "data: 1\n\n",
            "data: 1\r\n\r\n",
            "data: 1\r\r",
            "data: 1\n\r\n",
            ": x\r\n\r",
            "\n",
            "\r\n",
        ] {
            assert!(after(text), "{text:?}");
        }
        for text in [
            "d",
            "data: 1",
            "data: 1\n",
            "data: 1\r\n",
            "data: 1\r",
            "data: 1\n\ndata",
            "data: 1\n\nx\n",
        ] {
            assert!(!after(text), "{text:?}");
        }
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_arrive() {
        let text = b"data: one\r\n\r\ndata: two\n\nid: 3\r\rdata";
        let mut ends = Vec::new();
        let mut boundary = Boundary::default();
        for (at, byte) in text.iter().enumerate() {
            boundary.follow(&[*byte]);
            if boundary.is_here() {
                ends.push(at + 1);
            }
        }
        // The carriage return of an empty line is its end, whether a line feed follows or not.
        assert_eq!(ends, [12, 13, 24, 31]);
        for cut in 1..text.len() {
            let mut boundary = Boundary::default();
            for piece in text[..12].chunks(cut) {
                boundary.follow(piece);
            }
            assert!(boundary.is_here(), "in pieces of {cut}");
        }
    }

    #[test]
    fn the_rest_of_an_event_is_found() {
        let mut boundary = Boundary::default();
        boundary.follow(b"data: o");
        assert_eq!(boundary.follow_to_end(b"ne\ndata: "), None);
        assert_eq!(boundary.follow_to_end(b"two\n\ndata: three\n\n"), Some(5));
        assert!(boundary.is_here());
    }
}
