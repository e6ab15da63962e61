//! `touchline source test`: checks one configured source, and shows what it would publish. Nothing
//! is published.
//!
//! A source that is polled is asked once, a social stream is listened to for a while. A partner
//! that sends gives no answer to look at: the body of a delivery is read from a file or from
//! standard input, and beside its events stands the command that would send it, signed.

mod delivery;
mod stream;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use touchline_core::event::Event;
use touchline_core::limits::BODY_BYTES_MAX;
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::{Context, Partner, try_partner};
use touchline_ingest::clock::{Clock, system_clock};
use touchline_ingest::limits::TOO_OLD_MARGIN;
use touchline_ingest::outbound;
use touchline_ingest::poll::{Ask, Trial, TrialError};
use touchline_ingest::sensor::{SensorSource, try_sensor};
use touchline_ingest::social::SocialSource;

use super::screen::counted;
use super::{Exit, Failure, Given, say};
use crate::config::Loaded;
use crate::logging::{escape_rest, put_visible};

/// `touchline source ...`
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// Check one configured source and show what it would publish; publishes nothing
    Test(TestArgs),
}

/// Which source, and how it is shown.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The NAME of its section, as in `[sources.broadcast.NAME]`
    name: String,
    /// A delivery's body, for a partner that sends webhooks; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// How long a social stream is listened to, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = 1..=3_600)]
    wait_s: i64,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A configured source, by how it can be tested.
enum Found<'l> {
    Sensor(&'l SensorSource),
    Polled(&'l Ask, &'l Partner),
    Webhook(&'l Partner),
    Social(&'l SocialSource),
}

/// Runs one of them.
pub fn source(given: &Given, command: &SourceCommand) -> Result<Exit, Failure> {
    let SourceCommand::Test(args) = command;
    let loaded = given.load()?;
    let Some(found) = find(&loaded, &args.name) else {
        let file = loaded.file.as_ref().map(|file| file.display().to_string());
        let read = file.unwrap_or_else(|| "the built-in defaults: --config names a file".into());
        let known = names(&loaded).join(", ");
        eprintln!("touchline: no source is called `{}`; there are: {known} (by {read})", args.name);
        return Ok(Exit::Usage);
    };
    let clock: Clock = Arc::new(system_clock);
    match found {
        Found::Sensor(source) => {
            let asked = outbound::shown(&source.ask.url);
            let trial = ask(&asked, try_sensor(source, &clock))?;
            show(args, &trial, Beside { asked: Some(asked), command: None })
        }
        Found::Polled(at, partner) if args.body.is_none() => {
            let asked = outbound::shown(&at.url);
            let trial = ask(&asked, try_partner(at, partner, &clock))?;
            let trial = leave_out_old(trial, windows(&loaded), clock());
            show(args, &trial, Beside { asked: Some(asked), command: None })
        }
        Found::Polled(_, partner) | Found::Webhook(partner) => {
            let Some(file) = &args.body else {
                eprintln!(
                    "touchline: `{}` sends webhooks: give a delivery's body by --body FILE",
                    args.name
                );
                return Ok(Exit::Usage);
            };
            let trial = try_body(partner, &body(file)?, &clock);
            let trial = leave_out_old(trial, windows(&loaded), clock());
            let can_sign = !partner.secrets().is_empty();
            let command = can_sign.then(|| delivery::command(&loaded, partner, file));
            show(args, &trial, Beside { asked: None, command })
        }
        Found::Social(source) => {
            let wait = Duration::from_secs(args.wait_s.unsigned_abs());
            let asked = Some(outbound::shown(&source.url));
            show(args, &stream::listen(source, &clock, wait)?, Beside { asked, command: None })
        }
    }
}

fn find<'l>(loaded: &'l Loaded, name: &str) -> Option<Found<'l>> {
    let options = &loaded.options;
    if let Some(sensor) = options.sensors.iter().find(|sensor| &*sensor.ask.name == name) {
        return Some(Found::Sensor(sensor));
    }
    if let Some(partner) = options.sources.iter().find(|partner| partner.name() == name) {
        let polled = options.polled.iter().find(|ask| &*ask.name == name);
        return Some(match polled {
            Some(ask) => Found::Polled(ask, partner),
            None => Found::Webhook(partner),
        });
    }
    options.social.iter().find(|social| &*social.name == name).map(Found::Social)
}

fn names(loaded: &Loaded) -> Vec<&str> {
    let options = &loaded.options;
    let partners = options.sources.iter().map(Partner::name);
    let all = partners.chain(options.sensors.iter().map(|sensor| &*sensor.ask.name));
    let all: Vec<&str> = all.chain(options.social.iter().map(|social| &*social.name)).collect();
    if all.is_empty() { vec!["none"] } else { all }
}

/// Waits for one answer of `address`; its timeout is the source's own.
fn ask(
    address: &str,
    asked: impl Future<Output = Result<Trial, TrialError>>,
) -> Result<Trial, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(asked).map_err(|error| match error {
        TrialError::Source(error) => Failure::Start(crate::wiring::StartError::Source(error)),
        error => Failure::Other(anyhow!("{address}: {error}")),
    })
}

/// What the webhook would make of a body whose signature is good.
fn try_body(partner: &Partner, raw: &[u8], clock: &Clock) -> Trial {
    let context =
        Context { source: partner.name(), correlation: "source-test", trace: None, now: clock() };
    match partner.events_of(raw, context) {
        Ok(events) => Trial { events, ..Trial::default() },
        Err(problem) => {
            let code = problem.code.as_str();
            let mut troubles: Vec<_> =
                problem.errors.iter().map(|error| (code, error.to_string())).collect();
            if troubles.is_empty() {
                troubles.push((code, problem.detail));
            }
            Trial { troubles, ..Trial::default() }
        }
    }
}

/// For how long the log knows what events of each stream repeat.
fn windows(loaded: &Loaded) -> [Duration; 4] {
    let options = &loaded.options;
    options.kafka.as_ref().map_or(options.journal.dedupe_windows, |kafka| kafka.windows)
}

/// What happened longer ago than repeats are known would be taken, and shown to nobody.
fn leave_out_old(mut trial: Trial, windows: [Duration; 4], now: Timestamp) -> Trial {
    let window = |event: &Event| windows[event.stream as usize].saturating_sub(TOO_OLD_MARGIN);
    trial.events.retain(|event| {
        let is_shown = event.occurred_at >= now.minus(window(event));
        if !is_shown {
            let (id, minutes) = (&event.id, window(event).as_secs() / 60);
            let at = event.occurred_at.to_rfc3339();
            let why = format!(
                "{id} happened at {at}, more than {minutes} minutes ago: it would \
                               be taken, and shown to nobody"
            );
            trial.troubles.push(("too_old", why));
        }
        is_shown
    });
    trial
}

fn body(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut raw = Vec::new();
    let read = |from: &mut dyn std::io::Read, into: &mut Vec<u8>| {
        from.take(BODY_BYTES_MAX as u64 + 1).read_to_end(into)
    };
    let read = match file == Path::new("-") {
        true => read(&mut std::io::stdin().lock(), &mut raw),
        false => std::fs::File::open(file).and_then(|mut opened| read(&mut opened, &mut raw)),
    };
    read.with_context(|| format!("read {}", file.display()))?;
    if raw.len() > BODY_BYTES_MAX {
        return Err(anyhow!("a body may have {BODY_BYTES_MAX} bytes").into());
    }
    Ok(raw)
}

/// What is shown beside a trial.
struct Beside {
    /// The address that was asked, as it may be shown.
    asked: Option<String>,
    /// What sends the delivery.
    command: Option<String>,
}

fn show(args: &TestArgs, trial: &Trial, beside: Beside) -> Result<Exit, Failure> {
    let text = match args.json {
        true => to_json(trial, beside),
        false => to_text(trial, &beside),
    };
    say(text.as_bytes())?;
    Ok(if trial.troubles.is_empty() { Exit::Fine } else { Exit::Failed })
}

fn to_json(trial: &Trial, beside: Beside) -> String {
    let event = |event: &Event| {
        let data: Value = serde_json::from_slice(&event.data).unwrap_or(Value::Null);
        let mut object = json!({
            "topic": event.topic().to_string(), "source": &*event.source, "id": &*event.id,
            "teams": event.route.teams().collect::<Vec<_>>(), "type": &*event.kind,
            "occurred_at": event.occurred_at.to_rfc3339(), "data": data,
        });
        if let (Some(sensor), Some(fields)) = (&event.sensor, object.as_object_mut()) {
            fields.insert("key".into(), Value::from(&*sensor.key));
        }
        object
    };
    let trouble = |(reason, why): &(&str, String)| json!({ "reason": reason, "detail": why });
    let mut page = json!({
        "events": trial.events.iter().map(event).collect::<Vec<_>>(),
        "problems": trial.troubles.iter().map(trouble).collect::<Vec<_>>(),
    });
    if let (Some(skew_us), Some(fields)) = (trial.skew_us, page.as_object_mut()) {
        fields.insert("clock_behind_s".into(), Value::from(skew_us as f64 / 1e6));
    }
    for (name, text) in [("asked", beside.asked), ("command", beside.command)] {
        if let (Some(text), Some(fields)) = (text, page.as_object_mut()) {
            fields.insert(name.into(), Value::from(text));
        }
    }
    // Line by line: what breaks them stands in no string.
    let page = format!("{page:#}");
    page.lines().map(|line| escape_rest(line.to_owned()) + "\n").collect()
}

fn to_text(trial: &Trial, beside: &Beside) -> String {
    let head = ["topic", "type", "id", "occurred at", "data"].map(str::to_owned);
    let rows: Vec<[String; 5]> =
        std::iter::once(head).chain(trial.events.iter().map(row)).collect();
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut out = String::new();
    for [topic, kind, id, at, data] in rows.iter().filter(|_| !trial.events.is_empty()) {
        let [a, b, c, d] = widths;
        // Writing to a String can't fail.
        let _ = writeln!(out, "{topic:<a$}  {kind:<b$}  {id:<c$}  {at:<d$}  {data}");
    }
    for (reason, why) in &trial.troubles {
        let mut line = String::new();
        put_visible(&mut line, &format!("problem: {reason}: {why}"));
        let _ = writeln!(out, "{line}");
    }
    let (events, problems) = (trial.events.len(), trial.troubles.len());
    let (events, problems) = (counted(events as u64, "event"), counted(problems as u64, "problem"));
    let _ = writeln!(out, "{events} would be published, {problems}");
    if let Some(behind_us) = trial.skew_us {
        let _ = writeln!(out, "{}", say_skew(behind_us));
    }
    if let Some(asked) = &beside.asked {
        let _ = writeln!(out, "asked: {asked}");
    }
    if let Some(command) = &beside.command {
        let _ = write!(out, "\nTo send it, signed:\n\n{command}");
    }
    out
}

/// That the source's clock is off, or its value is old: one answer can't tell.
fn say_skew(behind_us: i64) -> String {
    let direction = if behind_us > 0 { "behind" } else { "ahead of" };
    let off_s = behind_us.unsigned_abs() as f64 / 1e6;
    format!("clock: the source's is {off_s:.1} s {direction} ours, or its value is old")
}

/// What one event shows of itself, on one line whatever it holds.
fn row(event: &Event) -> [String; 5] {
    let data = String::from_utf8_lossy(&event.data);
    let end = data.floor_char_boundary(DATA_SHOWN_BYTES);
    let more = if end < data.len() { "..." } else { "" };
    let visible = |text: &str| {
        let mut out = String::new();
        put_visible(&mut out, text);
        out
    };
    [
        visible(&event.topic().to_string()),
        visible(&event.kind),
        visible(&event.id),
        event.occurred_at.to_rfc3339(),
        visible(&data[..end]) + more,
    ]
}

/// Of an event's data, in the table.
const DATA_SHOWN_BYTES: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_too_long_ago_would_not_be_shown() {
        let now = Timestamp(7_200_000_000);
        let at = |minutes: i64| Timestamp(now.0 - minutes * 60_000_000);
        let event = |id, minutes| Event { occurred_at: at(minutes), ..Event::sample(id, "ars") };
        let trial = Trial { events: vec![event("old", 56), event("new", 54)], ..Trial::default() };
        let trial = leave_out_old(trial, [Duration::from_secs(3_600); 4], now);
        assert_eq!((trial.events.len(), &*trial.events[0].id), (1, "new"));
        let said = to_text(&trial, &Beside { asked: None, command: None });
        assert!(said.contains("problem: too_old: old happened at 1970-01-01T01:04:00Z"), "{said}");
        assert!(said.contains("more than 55 minutes ago"), "{said}");
    }

    #[test]
    fn fault_45_nothing_that_a_source_said_acts_on_a_terminal() {
        let data = "{\"by\":\"\u{9b}2J\u{7f}\u{202e}\"}";
        let event = Event { data: data.into(), ..Event::sample("g-1", "ars") };
        let why = "\u{9b}2J\u{7f}\u{202e}".to_owned();
        let trial = Trial {
            events: vec![event],
            troubles: vec![("bad_post", why.clone())],
            ..Trial::default()
        };
        let beside = || Beside { asked: None, command: None };
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        for text in [to_text(&trial, &beside()), to_json(&trial, beside())] {
            assert!(!text.contains(acts), "{text:?}");
        }
        let said: Value = serde_json::from_str(&to_json(&trial, beside())).unwrap();
        assert_eq!(
            (&said["problems"][0]["detail"], &said["events"][0]["data"]["by"]),
            (&Value::from(&*why), &Value::from(&*why))
        );
    }
}
