//! Numbers and lists as people read them.

use crate::stats::Figure;

/// Three digits, or all of those before the point in groups of three.
pub fn number(value: f64) -> String {
    // The sum of nothing is -0.
    let value = value + 0.0;
    let digits = match value.abs() {
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    grouped(&format!("{value:.digits$}"))
}

/// Three digits and as many zeros as it takes, without a fraction from 100 on.
pub fn rounded(value: f64) -> String {
    let decade = 10_f64.powi((value.abs().max(1.0).log10().floor() as i32 - 2).max(0));
    number((value / decade).round() * decade)
}

/// All of its digits.
pub fn whole(value: u64) -> String {
    grouped(&value.to_string())
}

/// A tick's value: no more digits than it needs.
pub fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    grouped(text.trim_end_matches('0').trim_end_matches('.'))
}

/// A share, in percent. Only all is 100 %.
pub fn percent(share: f64) -> String {
    match share {
        share if share >= 1.0 => "100".into(),
        share if share > 0.999 => "99.9".into(),
        share => format!("{:.1}", share * 100.0),
    }
}

/// Least to greatest.
pub fn range(figure: &Figure, show: fn(f64) -> String) -> String {
    format!("{}\u{2013}{}", show(figure.low), show(figure.high))
}

/// `1 run`, `2 runs`.
pub fn count(count: usize, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {one}{ending}", whole(count as u64))
}

/// `a, b and c`.
pub fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// The beginning of a long text.
pub fn shortened(text: &str, letters_max: usize) -> String {
    match text.char_indices().nth(letters_max) {
        Some((end, _)) => format!("{}\u{2026}", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

fn grouped(text: &str) -> String {
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, letter) in whole.char_indices() {
        let left = whole.len() - index;
        if left.is_multiple_of(3) && index > 0 && !out.ends_with('-') {
            out.push(',');
        }
        out.push(letter);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_or_groups_of_three() {
        assert_eq!(number(-0.0), "0");
        let shown = [0.0, 0.256, 5.646, 56.44, 431.0, 1_234.5, 3_950_000.0].map(number);
        assert_eq!(shown, ["0", "0.26", "5.65", "56.4", "431", "1,234", "3,950,000"]);
        assert_eq!(
            [0.0, 0.05, 2.5, 1_000.0, -100.0].map(tick),
            ["0", "0.05", "2.5", "1,000", "-100"]
        );
    }

    #[test]
    fn a_figure_that_was_interpolated_claims_no_more_than_three_digits() {
        let shown = [0.0, 20.04, 431_234.5, 99_960.0].map(rounded);
        assert_eq!(shown, ["0", "20.0", "431,000", "100,000"]);
    }

    #[test]
    fn what_is_not_all_is_not_called_all() {
        assert_eq!([1.0, 0.99999, 0.625, 0.0].map(percent), ["100", "99.9", "62.5", "0.0"]);
    }

    #[test]
    fn lists_and_counts_read_like_sentences() {
        assert_eq!((whole(6), whole(4_920_000)), ("6".into(), "4,920,000".into()));
        let words = ["a", "b", "c"].map(str::to_owned);
        assert_eq!((list(&words), list(&words[..1])), ("a, b and c".into(), "a".into()));
        assert_eq!(
            (count(1, "run"), count(2_000, "socket")),
            ("1 run".into(), "2,000 sockets".into())
        );
        assert_eq!((shortened("a word", 2), shortened("é", 1)), ("a\u{2026}".into(), "é".into()));
    }
}
