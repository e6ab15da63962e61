//! Lines out of chunks, wherever the chunks were cut: in a line, in a character, before its end.
//!
//! A line that lies in one chunk is not copied. One that is longer than its bound is told once and
//! skipped to its end, holding nothing; what follows it is read as ever.

/// What ends a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A line feed; a carriage return before it doesn't count.
    LineFeed,
    /// Carriage return, line feed, or both, as in server-sent events.
    Either,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line without its end.
    Line(&'a [u8]),
    /// One that was longer than it may be.
    TooLong,
}

/// Cuts a stream into lines.
#[derive(Debug)]
pub struct Lines {
    ends: Ends,
    bytes_max: usize,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    is_skipping: bool,
    is_after_return: bool,
}

impl Lines {
    /// Lines of `bytes_max` bytes at most.
    pub fn new(ends: Ends, bytes_max: usize) -> Self {
        Self { ends, bytes_max, rest: Vec::new(), is_skipping: false, is_after_return: false }
    }

    /// Takes a chunk; `each` gets what ends in it, in order.
    pub fn feed(&mut self, mut chunk: &[u8], mut each: impl FnMut(Piece<'_>)) {
        if chunk.is_empty() {
            return;
        }
        if std::mem::take(&mut self.is_after_return) && chunk[0] == b'\n' {
            chunk = &chunk[1..];
        }
        while let Some(at) = self.end(chunk) {
            let (line, ended_by) = (&chunk[..at], chunk[at]);
            chunk = &chunk[at + 1..];
            self.line(line, &mut each);
            if ended_by == b'\r' {
                match chunk.first() {
                    Some(b'\n') => chunk = &chunk[1..],
                    Some(_) => {}
                    None => self.is_after_return = true,
                }
            }
        }
        self.keep(chunk, &mut each);
    }

    /// What came after the last line's end.
    pub fn unfinished(&self) -> &[u8] {
        &self.rest
    }

    fn end(&self, chunk: &[u8]) -> Option<usize> {
        match self.ends {
            Ends::LineFeed => memchr::memchr(b'\n', chunk),
            Ends::Either => memchr::memchr2(b'\r', b'\n', chunk),
        }
    }

    fn line(&mut self, end: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        if std::mem::take(&mut self.is_skipping) {
            return;
        }
        if self.rest.len() + end.len() > self.bytes_max {
            each(Piece::TooLong);
        } else if self.rest.is_empty() {
            each(Piece::Line(end.strip_suffix(b"\r").unwrap_or(end)));
        } else {
            self.rest.extend_from_slice(end);
            let line = self.rest.as_slice();
            each(Piece::Line(line.strip_suffix(b"\r").unwrap_or(line)));
        }
        self.rest.clear();
    }

    fn keep(&mut self, begin: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        if self.is_skipping {
            return;
        }
        if self.rest.len() + begin.len() > self.bytes_max {
            self.is_skipping = true;
            self.rest = Vec::new();
            return each(Piece::TooLong);
        }
        self.rest.extend_from_slice(begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(ends: Ends, bytes_max: usize, chunks: &[&[u8]]) -> Vec<Result<Vec<u8>, ()>> {
        let (mut lines, mut got) = (Lines::new(ends, bytes_max), Vec::new());
        for chunk in chunks {
            lines.feed(chunk, |piece| match piece {
                Piece::Line(line) => got.push(Ok(line.to_vec())),
                Piece::TooLong => got.push(Err(())),
            });
            assert!(lines.rest.len() <= bytes_max);
        }
        got
    }

    fn line(text: &str) -> Result<Vec<u8>, ()> {
        Ok(text.as_bytes().to_vec())
    }

    #[test]
    fn fault_29_a_character_cut_in_two_is_whole_again() {
        let text = "tor für münchen\n".as_bytes();
        for at in 0..text.len() {
            let got = cut(Ends::LineFeed, 100, &[&text[..at], &text[at..]]);
            assert_eq!(got, [line("tor für münchen")], "cut at {at}");
        }
    }

    #[test]
    fn a_line_beyond_its_bound_costs_itself_alone() {
        let got = cut(Ends::LineFeed, 5, &[b"ab\nlong", b"er than", b" 5\ncd\n", b"sixsix\nef\n"]);
        assert_eq!(got, [line("ab"), Err(()), line("cd"), Err(()), line("ef")]);
    }

    #[test]
    fn ends_of_lines_are_those_of_their_kind() {
        let got = cut(Ends::LineFeed, 9, &[b"a\r\nb\rc\n\n"]);
        assert_eq!(got, [line("a"), line("b\rc"), line("")]);
        let got = cut(Ends::Either, 9, &[b"a\r", b"\nb\rc\n\r\nd\r"]);
        assert_eq!(got, [line("a"), line("b"), line("c"), line(""), line("d")]);
    }

    proptest! {
        /// Wherever a stream is cut, its lines are the same.
        #[test]
        fn where_chunks_are_cut_makes_no_difference(
            text in "[x\n\r]{0,60}",
            cuts in proptest::collection::vec(0..60usize, 0..8),
            either in any::<bool>(),
        ) {
            let ends = if either { Ends::Either } else { Ends::LineFeed };
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|at| &bytes[at[0]..at[1]]).collect();
            prop_assert_eq!(cut(ends, 4, &chunks), cut(ends, 4, &[bytes]));
        }
    }
}
