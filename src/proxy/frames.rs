//! Where one WebSocket frame ends and the next begins (RFC 6455, 5.2), from the headers only: payloads are not read.

/// Follows a stream of frames, so that a Close can be put in at a boundary and nowhere else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frames {
    header: [u8; 14],
    have: usize,
    payload_left: u64,
    broken: bool,
}

impl Frames {
    /// Takes note of `bytes` that were relayed.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload_left > 0 {
                let skipped = usize::try_from(self.payload_left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.payload_left -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.have] = first;
            self.have += 1;
            bytes = rest;
            if self.have >= 2 && self.have == self.header_length() {
                self.payload_left = self.payload_length();
                // A length with the highest bit set is no frame: from here on no boundary is known.
                self.broken |= self.payload_left > i64::MAX as u64;
                self.have = 0;
            }
        }
    }

    /// How many of `bytes`, which come next, belong to the frame under way; all of them when it does not end within them.
    #[must_use]
    pub fn until_boundary(mut self, bytes: &[u8]) -> usize {
        let mut seen = 0;
        while seen < bytes.len() && !self.at_boundary() {
            let payload = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
            let step = payload.clamp(1, bytes.len() - seen);
            self.follow(&bytes[seen..seen + step]);
            seen += step;
        }
        seen
    }

    /// Whether a new frame may be written here.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload_left == 0 && !self.broken
    }

    const fn header_length(&self) -> usize {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        let extended = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + extended + mask
    }

    const fn payload_length(&self) -> u64 {
        let header = &self.header;
        match header[1] & 0x7f {
            126 => u16::from_be_bytes([header[2], header[3]]) as u64,
            127 => u64::from_be_bytes([
                header[2], header[3], header[4], header[5], header[6], header[7], header[8], header[9],
            ]),
            short => short as u64,
        }
    }
}

/// A Close frame as a server sends it: unmasked.
#[must_use]
pub const fn close(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

/// A Close frame as a client sends it: masked, with a key of zeros, which RFC 6455 does not forbid and which hides
/// nothing that anybody could want to know.
#[must_use]
pub const fn masked_close(code: u16) -> [u8; 8] {
    let [high, low] = code.to_be_bytes();
    [0x88, 0x82, 0, 0, 0, 0, high, low]
}

#[cfg(test)]
mod tests {
    use super::Frames;
    use proptest::prelude::*;

    fn frame(length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80_u8 } else { 0 };
        let mut bytes = vec![0x82];
        match length {
            0..126 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                bytes.push(mask | 0x7e);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 0x7f);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(vec![0; if masked { 4 } else { 0 }]);
        bytes.extend(vec![0xff; length]);
        bytes
    }

    #[test]
    fn a_length_that_no_frame_has_leaves_no_boundary() {
        let mut frames = Frames::default();
        frames.follow(&[0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!frames.at_boundary());
    }

    proptest! {
        #[test]
        fn boundaries_are_found_however_the_bytes_arrive(
            lengths in proptest::collection::vec((prop_oneof![0_usize..300, Just(65_535), Just(65_536), Just(70_000)], any::<bool>()), 1..5),
            cut in 1_usize..5000,
        ) {
            let mut frames = Frames::default();
            let mut boundaries = vec![0];
            let mut stream = Vec::new();
            for (length, masked) in lengths {
                stream.extend(frame(length, masked));
                boundaries.push(stream.len());
            }
            for at in 1..stream.len().min(400) {
                let mut frames = Frames::default();
                frames.follow(&stream[..at]);
                let next = boundaries.iter().copied().find(|boundary| *boundary >= at).unwrap_or(stream.len());
                prop_assert_eq!(frames.until_boundary(&stream[at..]), next - at);
            }
            let mut seen = 0;
            for piece in stream.chunks(cut) {
                prop_assert_eq!(frames.at_boundary(), boundaries.contains(&seen));
                frames.follow(piece);
                seen += piece.len();
            }
            prop_assert!(frames.at_boundary());
        }
    }
}
