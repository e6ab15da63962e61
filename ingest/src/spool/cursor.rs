//! How far a spool has been handed on, in a small file that is replaced whole.
//!
//! A cursor that is a little too low costs nothing but work: what it repeats the log has already,
//! and says so, for as long as its dedupe window. One that is low by more would show again what is
//! long over. So it is written and synced after each group, with its folder: some milliseconds for
//! what brokers have just taken longer to acknowledge.
//!
//! One that can't be read all the same, isn't there or is of another life of the spool is *lost*:
//! it begins with the first that the spool still has, and says of all that was there by then that
//! nobody knows whether it was handed on ([`Cursor::is_in_doubt`]). That stands in the file too,
//! until the last of them has been dealt with.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use touchline_core::log::Epoch;

/// The file, and what stands in it.
#[derive(Debug)]
pub(super) struct Cursor {
    file: PathBuf,
    epoch: Epoch,
    at: Written,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    next: u64,
    /// What lies below may have been handed on before.
    doubt_below: u64,
}

impl Cursor {
    /// Reads `file`, of a spool that holds `first..end`. One that is lost is made anew.
    pub fn open(file: &Path, epoch: Epoch, first: u64, end: u64) -> io::Result<Self> {
        let text = match fs::read_to_string(file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        let known = text.as_deref().and_then(parse).filter(|(of, _)| *of == epoch);
        let lost = Written { next: first, doubt_below: end };
        let at = known.map_or(lost, |(_, at)| Written { next: at.next.max(first), ..at });
        let cursor = Self { file: file.to_owned(), epoch, at };
        if known.is_none() {
            cursor.write()?;
        }
        Ok(cursor)
    }

    /// The next sequence to be handed on.
    pub fn next(&self) -> u64 {
        self.at.next
    }

    /// Whether what stands at `seq` may have been handed on before.
    pub fn is_in_doubt(&self, seq: u64) -> bool {
        seq < self.at.doubt_below
    }

    /// All below `next` has been.
    pub fn advance(&mut self, next: u64) -> io::Result<()> {
        if self.at.next == next {
            return Ok(());
        }
        self.at.next = next;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let fresh = self.file.with_extension("fresh");
        let mut out = fs::File::create(&fresh)?;
        out.write_all(line(self.epoch, self.at).as_bytes())?;
        out.sync_all()?;
        fs::rename(&fresh, &self.file)?;
        fs::File::open(self.file.parent().unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn line(epoch: Epoch, at: Written) -> String {
    let body = format!("spool {:016x} {} {}", epoch.0, at.next, at.doubt_below);
    let sum = crc32c::crc32c(body.as_bytes());
    format!("{body} {sum:08x}\n")
}

fn parse(text: &str) -> Option<(Epoch, Written)> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let epoch = Epoch(u64::from_str_radix(words.next()?, 16).ok()?);
    let next = words.next()?.parse().ok()?;
    let at = Written { next, doubt_below: words.next()?.parse().ok()? };
    // Half of a line that the disk has kept is no cursor.
    (line(epoch, at) == text).then_some((epoch, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(file: &Path, epoch: u64, first: u64, end: u64) -> Cursor {
        Cursor::open(file, Epoch(epoch), first, end).unwrap()
    }

    #[test]
    fn a_cursor_is_found_again_in_its_own_life_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cursor");
        let mut cursor = open(&file, 7, 3, 3);
        assert_eq!(cursor.next(), 3);
        assert!(!cursor.is_in_doubt(3), "a new spool holds nothing");
        cursor.advance(12).unwrap();
        assert_eq!(open(&file, 7, 3, 40).next(), 12);
        assert!(!open(&file, 7, 3, 40).is_in_doubt(12));
        assert_eq!(open(&file, 7, 20, 40).next(), 20, "the rest is gone");
        assert_eq!(open(&file, 8, 3, 40).next(), 3, "another life");
    }

    #[test]
    fn a_cursor_that_is_lost_says_so_until_all_that_was_there_is_dealt_with() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cursor");
        open(&file, 7, 0, 0).advance(30).unwrap();
        // A disk that keeps a name and no bytes.
        for lost in [true, false] {
            match lost {
                true => fs::write(&file, "").unwrap(),
                false => fs::remove_file(&file).unwrap(),
            }
            let mut cursor = open(&file, 7, 10, 40);
            assert_eq!((cursor.next(), cursor.is_in_doubt(39)), (10, true));
            assert!(!cursor.is_in_doubt(40), "what comes from now on");
            cursor.advance(20).unwrap();
            let cursor = open(&file, 7, 10, 60);
            assert_eq!((cursor.next(), cursor.is_in_doubt(39)), (20, true), "another start");
            assert!(!cursor.is_in_doubt(40));
        }
    }

    #[test]
    fn a_torn_cursor_is_none() {
        let at = Written { next: 1_200, doubt_below: 3 };
        let whole = line(Epoch(7), at);
        assert_eq!(parse(&whole), Some((Epoch(7), at)));
        for cut in 0..whole.len() {
            assert_eq!(parse(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(parse(&whole.replace("1200", "1201")), None);
    }
}
