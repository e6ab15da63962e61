//! `touchline check-config` and `touchline print-config`.

use super::{Exit, Failure, Given, say};
use crate::config::print;
use crate::wiring;

/// Reads everything that a start would read, and makes the plan that a start would make.
pub fn check(given: &Given) -> Result<Exit, Failure> {
    let loaded = given.load()?;
    let plan = wiring::plan(&loaded.options)?;
    let file = loaded.file.as_ref().map_or("no file".into(), |file| file.display().to_string());
    say(format!(
        "good: {file}, {} partner(s), {} shard(s) for {} connections\n",
        loaded.options.sources.iter().count(),
        plan.shards(),
        loaded.options.connections_max
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
