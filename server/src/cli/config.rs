//! `touchline check-config` and `touchline print-config`.

use super::screen::counted;
use super::{Exit, Failure, Given, say};
use crate::config::print;
use crate::wiring;

/// Reads everything that a start would read, and makes the plan that a start would make.
pub fn check(given: &Given) -> Result<Exit, Failure> {
    let loaded = given.load()?;
    let options = &loaded.options;
    let plan = wiring::plan(options)?;
    let file = loaded.file.as_ref().map_or("no file".into(), |file| file.display().to_string());
    say(format!(
        "good: {file}, {}, {}, {}, {} for {}\n",
        counted(options.sources.iter().count() as u64, "partner"),
        counted(options.sensors.len() as u64, "sensor"),
        counted(options.social.len() as u64, "social stream"),
        counted(plan.shards() as u64, "shard"),
        counted(options.connections_max as u64, "connection")
    )
    .as_bytes())
}

/// Prints the configuration in force.
pub fn print(given: &Given, json: bool) -> Result<Exit, Failure> {
    let loaded = given.load()?;
    let text = match json {
        true => format!("{:#}\n", print::to_json(&loaded)),
        false => print::to_toml(&loaded),
    };
    say(text.as_bytes())
}
