//! One line that says how it goes: updated in place on a terminal, a plain line now and then
//! elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Stop;
use super::meter::{Meter, Reading};

/// Between two updates on a terminal.
const UPDATE: Duration = Duration::from_secs(1);
/// Updates from one plain line to the next.
const PLAIN_EVERY: u32 = 5;

/// Shows the meter, and what is noted in it, until told to stop.
pub async fn show(meter: Meter, followers: usize, mut stop: Stop) {
    if std::io::stdout().is_terminal() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        while !stop.sleep(UPDATE).await {
            meter.take_notes().iter().for_each(|note| bar.println(note));
            bar.set_message(line(&meter.read(), followers));
        }
        bar.finish_and_clear();
    } else {
        for turn in 1.. {
            if stop.sleep(UPDATE).await {
                break;
            }
            meter.take_notes().iter().for_each(|note| say(note));
            if turn % PLAIN_EVERY == 0 {
                say(&line(&meter.read(), followers));
            }
        }
    }
}

/// A line on standard output. A reader that has gone is no reason to end.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Fits 80 columns as long as nothing is odd.
fn line(reading: &Reading, followers: usize) -> String {
    let totals = &reading.totals;
    let ms = |figure: Option<f64>| figure.map_or("-".into(), |ms| format!("{ms:.1}"));
    let connected = totals.sockets.iter().sum();
    let sockets = match connected == followers as u64 {
        true => grouped(connected),
        false => format!("{}/{}", grouped(connected), grouped(followers as u64)),
    };
    // Of a demo of one node the second is zero.
    let by_node = match totals.sockets {
        [_, 0] => String::new(),
        [a, b] => format!(" (a {}, b {})", grouped(a), grouped(b)),
    };
    let mut line = format!(
        "{} events | {sockets} sockets{by_node} | {} deliveries/s | p50 {}, p99 {}, spread {} ms",
        grouped(totals.events),
        grouped(reading.deliveries_per_s.round() as u64),
        ms(reading.p50_ms),
        ms(reading.p99_ms),
        ms(reading.spread_ms),
    );
    line.push_str(&oddities(reading));
    line
}

/// What should be zero and isn't.
fn oddities(reading: &Reading) -> String {
    let totals = &reading.totals;
    let counts = [
        (totals.duplicates, "received twice"),
        (totals.missing, "missing"),
        (totals.gaps, "gaps"),
        (totals.left_out, "posts left out"),
        (totals.refused, "refused"),
        (totals.too_old, "too old"),
        (totals.reconnects, "reconnects"),
        (totals.brokers_away, "brokers away"),
    ];
    let odd = counts.iter().filter(|(count, _)| *count > 0);
    let mut text: String =
        odd.map(|(count, what)| format!(" | {} {what}", grouped(*count))).collect();
    if let Some(trouble) = &totals.trouble {
        // It may quote a server's answer: one line of printable characters is enough of it.
        let quiet = trouble.chars().filter(|letter| !letter.is_control()).take(160);
        text.push_str(" | ");
        text.extend(quiet);
    }
    text
}

/// What it has come to, once all followers have left.
pub fn summary(reading: &Reading) -> String {
    let totals = &reading.totals;
    format!(
        "told {} events, {} of them again; {} deliveries, {} of them posts and {} values; {} posts \
         left out; {} received twice, {} missing, {} not there yet, {} gaps",
        grouped(totals.events + totals.repeats),
        grouped(totals.repeats),
        grouped(totals.deliveries),
        grouped(totals.posts),
        grouped(totals.values),
        grouped(totals.left_out),
        grouped(totals.duplicates),
        grouped(totals.missing),
        grouped(totals.owed),
        grouped(totals.gaps),
    )
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::meter::Totals;

    #[test]
    fn the_line_says_what_matters_and_oddities_only_if_there_are_any() {
        let mut reading = Reading {
            totals: Totals { events: 1_234, sockets: [999, 0], ..Totals::default() },
            deliveries_per_s: 56_789.4,
            p50_ms: Some(1.25),
            p99_ms: Some(8.0),
            spread_ms: None,
        };
        let calm = "1,234 events | 999/1,000 sockets | 56,789 deliveries/s | p50 1.2, p99 8.0, spread - ms";
        assert_eq!(line(&reading, 1_000), calm);
        reading.totals.sockets = [500, 500];
        let both = line(&reading, 1_000);
        assert!(both.contains("| 1,000 sockets (a 500, b 500) |"), "{both}");
        reading.totals.sockets = [999, 0];
        reading.totals.missing = 2;
        reading.totals.trouble =
            Some("the API answers 503\u{1b}[2J\n; trying again in 1.0 s".into());
        let odd = format!("{calm} | 2 missing | the API answers 503[2J; trying again in 1.0 s");
        assert_eq!(line(&reading, 1_000), odd);
    }

    #[test]
    fn figures_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
