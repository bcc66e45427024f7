//! Lines of a file by number, none of them longer than a bound.

use anyhow::{Context, Result, anyhow};
use std::io::{BufRead, BufReader, Read};

/// Most bytes of a line.
const LONGEST: usize = 64 * 1024;

/// A line without its end, or what is wrong with it.
pub(super) struct Line {
    /// From 1.
    pub number: u64,
    pub text: Result<Vec<u8>>,
}

/// Reads lines one at a time.
pub(super) struct Lines {
    source: BufReader<Box<dyn Read>>,
    /// One that was looked at.
    ahead: Option<Line>,
    number: u64,
    /// Bytes read so far.
    pub bytes: u64,
}

impl Lines {
    pub(super) fn new(input: Box<dyn Read>) -> Self {
        Self {
            source: BufReader::new(input),
            ahead: None,
            number: 0,
            bytes: 0,
        }
    }

    /// Whether the first line that is not blank is a JSON object.
    pub(super) fn begin_with_an_object(&mut self) -> Result<bool> {
        let first = self.next_text()?;
        let is_object = first.as_ref().is_some_and(|line| {
            line.text
                .as_ref()
                .is_ok_and(|text| text.trim_ascii_start().starts_with(b"{"))
        });
        let is_too_long = first.as_ref().is_some_and(|line| line.text.is_err());
        self.ahead = first;
        // Which of the two it is no longer matters: it is refused.
        Ok(is_object || is_too_long)
    }

    /// The next line that is not blank; `None` at the end.
    pub(super) fn next_text(&mut self) -> Result<Option<Line>> {
        while let Some(line) = self.next()? {
            if line.text.as_ref().map_or(true, |text| !text.trim_ascii().is_empty()) {
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<Line>> {
        if let Some(line) = self.ahead.take() {
            return Ok(Some(line));
        }
        let mut text = Vec::new();
        let most = LONGEST as u64 + 1;
        let length = self.source.by_ref().take(most).read_until(b'\n', &mut text);
        let length = length.context("cannot read on")?;
        if length == 0 {
            return Ok(None);
        }
        self.bytes += length as u64;
        self.number += 1;
        let ended = text.last() == Some(&b'\n');
        if !ended && length > LONGEST {
            self.skip_line()?;
            let text = Err(anyhow!("the line is longer than 64 KiB"));
            return Ok(Some(Line {
                number: self.number,
                text,
            }));
        }
        let end = if ended { length - 1 } else { length };
        let end = if text[..end].ends_with(b"\r") { end - 1 } else { end };
        text.truncate(end);
        // Spreadsheets put a mark in front of UTF-8.
        if self.number == 1 && text.starts_with(b"\xef\xbb\xbf") {
            text.drain(..3);
        }
        Ok(Some(Line {
            number: self.number,
            text: Ok(text),
        }))
    }

    fn skip_line(&mut self) -> Result<()> {
        loop {
            let piece = self.source.fill_buf().context("cannot read on")?;
            let end = piece.iter().position(|byte| *byte == b'\n');
            let (length, done) = (
                end.map_or(piece.len(), |end| end + 1),
                end.is_some() || piece.is_empty(),
            );
            self.source.consume(length);
            self.bytes += length as u64;
            if done {
                return Ok(());
            }
        }
    }
}
