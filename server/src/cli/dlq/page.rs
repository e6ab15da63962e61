//! How letters are printed. Whatever a partner sent, nothing of it acts on a terminal.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use touchline_core::time::Timestamp;
use touchline_store::dead::Letter;

use crate::cli::screen;
use crate::logging::{escape_rest, put_visible};

/// Of a detail, in a table.
const DETAIL_CHARS: usize = 60;
/// A detail that has less room beside the others gets a line of its own.
const DETAIL_CHARS_LEAST: usize = 24;
/// Bytes of one line of a hex dump.
const HEX_BYTES: usize = 16;

/// A table for people, in so many columns of a terminal; with `nodes`, whose each is.
pub fn table(
    letters: &[Letter],
    nodes: Option<&[String]>,
    now: Timestamp,
    columns: Option<usize>,
) -> String {
    if letters.is_empty() {
        return "no letters\n".into();
    }
    let head = ["ID", "AGE", "STREAM", "SOURCE", "REASON", "STATE", "TIMES", "BYTES", "DETAIL"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(letters.iter().map(|it| {
        let detail: String = visible(&it.detail).chars().take(DETAIL_CHARS).collect();
        vec![
            it.id.clone(),
            age(it.parked_at, now),
            it.stream.to_string(),
            visible(&it.source),
            visible(&it.reason),
            it.state.as_str().to_owned(),
            it.times.to_string(),
            it.raw_bytes.to_string(),
            detail,
        ]
    }));
    if let Some(nodes) = nodes {
        let cells = std::iter::once("NODE".to_owned()).chain(nodes.iter().map(|it| visible(it)));
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        // After the age; what may be long stays last.
        rows.iter_mut().for_each(|row| row[2..].rotate_right(1));
    }
    let numbers = if nodes.is_some() { [7, 8] } else { [6, 7] };
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..rows[0].len()).map(|it| width(it).unwrap_or(0)).collect();
    let before_detail: usize = widths[..widths.len() - 1].iter().map(|width| width + 2).sum();
    let is_narrow = columns.is_some_and(|most| before_detail + DETAIL_CHARS_LEAST > most);
    let mut text = String::new();
    for (n, row) in rows.iter().enumerate() {
        // Numbers and the detail stand last.
        let shown = if is_narrow { numbers[0] } else { row.len() };
        let line = joined(&row[..shown], &widths, numbers);
        let _ = writeln!(text, "{}", screen::fit(&line, columns));
        let [.., times, bytes, detail] = &row[..] else { continue };
        if is_narrow && n > 0 {
            let more = format!("  times {times}, bytes {bytes}: {detail}");
            let _ = writeln!(text, "{}", screen::fit(&more, columns));
        }
    }
    text
}

fn joined(row: &[String], widths: &[usize], numbers: [usize; 2]) -> String {
    let mut line = String::new();
    for (n, (cell, width)) in row.iter().zip(widths).enumerate() {
        // Numbers stand under each other by their last digit.
        let _ = match n {
            n if numbers.contains(&n) => write!(line, "{cell:>width$}  "),
            _ => write!(line, "{cell:<width$}  "),
        };
    }
    line.truncate(line.trim_end().len());
    line
}

/// All of one letter.
pub fn whole(letter: &Letter, raw: &[u8]) -> String {
    let mut text = String::new();
    let attempts = letter.attempts.to_string();
    let times = match letter.times {
        1 => "once".to_owned(),
        times => format!("{times} times, last at {}", letter.last_at.to_rfc3339()),
    };
    let state = format!("{} since {}", letter.state.as_str(), letter.state_at.to_rfc3339());
    let bytes = match letter.is_cut() {
        true => format!("{}, of which the first {} are kept", letter.raw_bytes, letter.kept_bytes),
        false => letter.raw_bytes.to_string(),
    };
    for (name, value) in [
        ("id", &*letter.id),
        ("desk", letter.desk.as_str()),
        ("stream", letter.stream.as_str()),
        ("source", &letter.source),
        ("reason", &letter.reason),
        ("detail", &letter.detail),
        ("correlation", &letter.correlation),
        ("received", &letter.received_at.to_rfc3339()),
        ("parked", &letter.parked_at.to_rfc3339()),
        ("came", &times),
        ("attempts", &attempts),
        ("state", &state),
        ("bytes", &bytes),
    ] {
        let _ = writeln!(text, "{name:<12} {}", visible(value));
    }
    text.push_str("history\n");
    for step in &letter.history {
        let _ = writeln!(text, "  {}  {}", Timestamp(step.at).to_rfc3339(), visible(&step.what));
    }
    text.push('\n');
    match std::str::from_utf8(raw) {
        Ok(body) => body.lines().for_each(|line| {
            put_visible(&mut text, line);
            text.push('\n');
        }),
        Err(_) => hex(&mut text, raw),
    }
    text
}

/// One letter as a line of JSON, without its bytes.
pub fn to_json(letter: &Letter) -> String {
    line(&object(letter))
}

/// The same with the node whose it is; of its history nothing is known then.
pub fn to_json_of((letter, node): (&Letter, &String)) -> String {
    let mut value = object(letter);
    value["node"] = json!(node);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("history");
    }
    line(&value)
}

/// The same with its bytes.
pub fn to_whole_json(letter: &Letter, raw: &[u8]) -> String {
    let mut object = object(letter);
    object["raw_base64"] = STANDARD.encode(raw).into();
    line(&object)
}

/// JSON on one line, with nothing in it that a terminal would act on.
fn line(value: &Value) -> String {
    escape_rest(value.to_string()) + "\n"
}

fn object(letter: &Letter) -> Value {
    let history: Vec<_> = letter
        .history
        .iter()
        .map(|step| json!({ "at": Timestamp(step.at).to_rfc3339(), "what": step.what }))
        .collect();
    json!({
        "id": letter.id,
        "desk": letter.desk.as_str(),
        "stream": letter.stream.as_str(),
        "source": letter.source,
        "reason": letter.reason,
        "detail": letter.detail,
        "attempts": letter.attempts,
        "times": letter.times,
        "correlation": letter.correlation,
        "received_at": letter.received_at.to_rfc3339(),
        "parked_at": letter.parked_at.to_rfc3339(),
        "last_at": letter.last_at.to_rfc3339(),
        "state": letter.state.as_str(),
        "state_at": letter.state_at.to_rfc3339(),
        "raw_bytes": letter.raw_bytes,
        "kept_bytes": letter.kept_bytes,
        "history": history,
    })
}

fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    put_visible(&mut out, text);
    out
}

/// `3h`, `12d`: how long ago, by its largest unit.
fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = (now.0 - at.0).max(0) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn hex(text: &mut String, raw: &[u8]) {
    for (n, line) in raw.chunks(HEX_BYTES).enumerate() {
        let bytes: String = line.iter().map(|byte| format!("{byte:02x} ")).collect();
        let show = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        let shown: String = line.iter().map(show).collect();
        let _ = writeln!(text, "{:08x}  {bytes:<48} {shown}", n * HEX_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::dead::Desk;
    use touchline_core::event::Stream;
    use touchline_store::dead::{State, Step};

    fn letter() -> Letter {
        Letter {
            id: "0198".into(),
            desk: Desk::Webhook,
            stream: Stream::Broadcast,
            source: "skyline".into(),
            reason: "invalid_events".into(),
            detail: "\u{1b}[2Jitem \u{7f}\u{202e}0".into(),
            attempts: 2,
            times: 3,
            correlation: "c-1".into(),
            received_at: Timestamp(0),
            parked_at: Timestamp(0),
            last_at: Timestamp(9_000_000),
            state: State::Parked,
            state_at: Timestamp(0),
            history: vec![Step { at: 0, what: "parked: \u{9b}31m".into() }],
            raw_bytes: 9,
            kept_bytes: 4,
        }
    }

    #[test]
    fn fault_45_nothing_that_a_partner_sent_acts_on_a_terminal() {
        let hour = Timestamp(3_600_000_000);
        let raw = "{\"a\":\"\u{1b}]0;x\u{7}\"\n\tb\r}".as_bytes();
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        for text in [table(&[letter()], None, hour, None), whole(&letter(), raw)] {
            assert!(!text.contains(acts), "{text:?}");
        }
        let text = whole(&letter(), raw);
        assert!(text.contains("9, of which the first 4 are kept"), "{text}");
        assert!(text.contains("3 times, last at 1970-01-01T00:00:09Z"), "{text}");
        let lines = [
            to_json(&letter()),
            to_json_of((&letter(), &"a".into())),
            to_whole_json(&letter(), raw),
        ];
        for line in lines {
            assert!(!line.contains(acts) && line.lines().count() == 1, "{line:?}");
            let said: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(said["detail"], *letter().detail, "it says the same");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hex() {
        let text = whole(&letter(), &[0xff, 0x1b, b'A', 0]);
        assert!(text.contains("00000000  ff 1b 41 00"), "{text}");
        assert!(text.ends_with(" ..A.\n"), "{text}");
    }

    #[test]
    fn a_table_has_a_line_for_each_letter() {
        assert_eq!(table(&[], None, Timestamp(0), None), "no letters\n");
        let text = table(&[letter(), letter()], None, Timestamp(7_200_000_000), None);
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.lines().nth(1).unwrap().starts_with("0198  2h   broadcast  skyline"),
            "{text}"
        );
        let text = table(&[letter()], Some(&["a".into()]), Timestamp(7_200_000_000), None);
        assert!(text.starts_with("ID    AGE  NODE  STREAM"), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("0198  2h   a     broadcast"), "{text}");
    }

    #[test]
    fn a_terminal_gets_a_table_that_it_has_room_for() {
        let mut letter = letter();
        letter.id = "01a2223f-4e59-76de-9e26-86e6a99e46ba".into();
        letter.detail = "it is no JSON object: expected value at line 1 column 1".into();
        for (columns, lines) in [(80, 3), (120, 3), (140, 2)] {
            let text = table(std::slice::from_ref(&letter), None, Timestamp(9), Some(columns));
            assert_eq!(text.lines().count(), lines, "{columns}:\n{text}");
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            assert!(text.contains("it is no JSON object: exp"), "{text}");
        }
    }
}
