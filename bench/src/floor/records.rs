//! What a server keeps for each socket and must look at to send: the floor has next to nothing, so
//! the lab gives it some.

use super::Options;
use crate::sys;

/// So many sockets ahead a record is fetched: a send takes microseconds, a fetch a tenth of one.
const AHEAD: usize = 2;
/// Words of 8 bytes in a cache line.
const LINE_WORDS: usize = 8;

/// A record for each follower of a team; nothing by default.
#[derive(Default)]
pub struct Records {
    words: Vec<u64>,
    words_each: usize,
    prefetch: bool,
}

impl Records {
    /// Records for `count` followers.
    pub fn new(options: &Options, count: usize) -> Self {
        let words_each = options.record_bytes.div_ceil(8) as usize;
        let words = vec![0; words_each * count];
        Self { words, words_each, prefetch: options.prefetch }
    }

    /// Writes to every line of a follower's record, as sending to it would. `index` says who comes
    /// how many steps later.
    #[inline]
    pub fn touch(&mut self, index: impl Fn(usize) -> usize) {
        if self.words_each == 0 {
            return;
        }
        let range = |follower: usize| follower * self.words_each..(follower + 1) * self.words_each;
        if self.prefetch {
            self.words[range(index(AHEAD))].iter().step_by(LINE_WORDS).for_each(sys::prefetch);
        }
        let range = range(index(0));
        for word in self.words[range].iter_mut().step_by(LINE_WORDS) {
            *word = word.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_touch_writes_to_every_line_of_one_record() {
        let options = Options::parse_flags("--record-bytes 128 --prefetch").unwrap();
        let mut records = Records::new(&options, 3);
        records.touch(|step| (1 + step) % 3);
        let written: Vec<usize> = (0..48).filter(|word| records.words[*word] == 1).collect();
        assert_eq!(written, [16, 24]);
        Records::default().touch(|step| step);
    }
}
