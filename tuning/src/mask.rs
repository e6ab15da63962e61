//! Sets of cores or queues as hexadecimal masks, a comma between words of 32.
//!
//! The kernel pads what it shows to the number of cores that there may ever be: with 8 of them `1`
//! is written and `01` is read. So masks compare as numbers.

use crate::reading::Spot;

/// How names of files end that hold a mask.
const ENDS: [&str; 3] = ["/rps_cpus", "/xps_cpus", "/xps_rxqs"];

/// The mask of these cores.
pub fn of(cores: impl Iterator<Item = u64>) -> String {
    let mut words = vec![0u32];
    for core in cores {
        let word = (core / 32) as usize;
        words.resize(words.len().max(word + 1), 0);
        words[word] |= 1 << (core % 32);
    }
    let mut text = String::new();
    for (n, word) in words.iter().rev().enumerate() {
        text += &if n == 0 { format!("{word:x}") } else { format!(",{word:08x}") };
    }
    text
}

/// Whether it has nothing in it.
pub fn is_empty(mask: &str) -> bool {
    words(mask).is_some_and(|words| words.is_empty())
}

/// Whether two are the same number; `None` where one of them is no mask.
pub fn are_same(one: &str, other: &str) -> Option<bool> {
    Some(words(one)? == words(other)?)
}

/// Whether a mask stands there.
pub fn stands_at(spot: &Spot) -> bool {
    matches!(spot, Spot::File { path, .. } if ENDS.iter().any(|end| path.ends_with(end)))
}

/// Its words, the lowest first, without zeros above the last that counts.
fn words(mask: &str) -> Option<Vec<u32>> {
    let words = mask.trim().rsplit(',').map(|word| u32::from_str_radix(word, 16));
    let mut words = words.collect::<Result<Vec<u32>, _>>().ok()?;
    while words.last() == Some(&0) {
        words.pop();
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_written_as_the_kernel_takes_them() {
        assert_eq!(of(0..2), "3");
        assert_eq!(of([1, 3].into_iter()), "a");
        assert_eq!(of(0..36), "f,ffffffff");
        assert!(is_empty("00000000,00000000\n") && !is_empty("00,01") && !is_empty(""));
    }

    #[test]
    fn masks_compare_as_numbers_however_they_are_padded() {
        for (one, other) in
            [("1", "01\n"), ("ff", "00000000,000000ff"), ("0", "00"), ("F,0", "0f,00000000")]
        {
            assert_eq!(are_same(one, other), Some(true), "{one} {other}");
        }
        for (one, other) in [("1", "10"), ("1,00000000", "1"), ("0", "01")] {
            assert_eq!(are_same(one, other), Some(false), "{one} {other}");
        }
        assert_eq!(are_same("1", "none"), None);
    }
}
