//! How far a spool has been handed on, in a small file that is replaced whole.
//!
//! A cursor that is too low costs nothing but work: what it repeats the log has already, and says
//! so. So it is written after each batch and needs no sync of its own; one that can't be read is
//! taken for the beginning of what the spool still has.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use touchline_core::log::Epoch;

/// The file, and what stands in it.
#[derive(Debug)]
pub(super) struct Cursor {
    file: PathBuf,
    epoch: Epoch,
    next: u64,
}

impl Cursor {
    /// Reads `file`. One of another life of the spool, or none, means `first`.
    pub fn open(file: &Path, epoch: Epoch, first: u64) -> io::Result<Self> {
        let text = match fs::read_to_string(file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        let next = text.as_deref().and_then(parse).filter(|(of, _)| *of == epoch);
        let next = next.map_or(first, |(_, next)| next.max(first));
        Ok(Self { file: file.to_owned(), epoch, next })
    }

    /// The next sequence to be handed on.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// All below `next` has been.
    pub fn advance(&mut self, next: u64) -> io::Result<()> {
        self.next = next;
        let text = line(self.epoch, next);
        let fresh = self.file.with_extension("fresh");
        let mut out = fs::File::create(&fresh)?;
        out.write_all(text.as_bytes())?;
        drop(out);
        fs::rename(&fresh, &self.file)
    }
}

fn line(epoch: Epoch, next: u64) -> String {
    let body = format!("spool {:016x} {next}", epoch.0);
    let sum = crc32c::crc32c(body.as_bytes());
    format!("{body} {sum:08x}\n")
}

fn parse(text: &str) -> Option<(Epoch, u64)> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let epoch = Epoch(u64::from_str_radix(words.next()?, 16).ok()?);
    let next = words.next()?.parse().ok()?;
    // Half of a line that the disk has kept is no cursor.
    (line(epoch, next) == text).then_some((epoch, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_found_again_in_its_own_life_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cursor");
        let mut cursor = Cursor::open(&file, Epoch(7), 3).unwrap();
        assert_eq!(cursor.next(), 3);
        cursor.advance(12).unwrap();
        assert_eq!(Cursor::open(&file, Epoch(7), 3).unwrap().next(), 12);
        assert_eq!(Cursor::open(&file, Epoch(7), 20).unwrap().next(), 20, "the rest is gone");
        assert_eq!(Cursor::open(&file, Epoch(8), 3).unwrap().next(), 3, "another life");
    }

    #[test]
    fn a_torn_cursor_is_none() {
        let whole = line(Epoch(7), 1_200);
        assert_eq!(parse(&whole), Some((Epoch(7), 1_200)));
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&whole.replace("1200", "1201")), None);
    }
}
