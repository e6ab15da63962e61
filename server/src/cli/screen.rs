//! What a person's terminal has room for, and how a number reads. Whatever goes to a file or a pipe
//! is never cut.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

/// Columns of standard output, if that is a terminal.
pub fn width() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// `line` as far as it fits; one that is cut ends with `…`.
pub fn fit(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| head(line, *width).len() < line.len()) else {
        return line.to_owned();
    };
    format!("{}…", head(line, width.saturating_sub(1)))
}

fn head(line: &str, width: usize) -> &str {
    let mut used = 0;
    for (at, letter) in line.char_indices() {
        used += columns(letter);
        if used > width {
            return &line[..at];
        }
    }
    line
}

/// `1 record`, `2 records`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Hangul, CJK, emoji take two columns; a letter that is taken for one of them costs a column.
fn columns(letter: char) -> usize {
    if letter >= '\u{1100}' { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(
            (counted(1, "record"), counted(0, "record")),
            ("1 record".into(), "0 records".into())
        );
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends_and_says_so() {
        for (line, width, shown) in [
            ("goal", Some(4), "goal"),
            ("goals", Some(4), "goa…"),
            ("tor ⚽⚽", Some(7), "tor ⚽…"),
            ("goals", None, "goals"),
            ("", Some(0), ""),
            ("a", Some(0), "…"),
        ] {
            assert_eq!(fit(line, width), shown);
        }
    }
}
