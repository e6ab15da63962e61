//! A device and a stream of posts to hang a server on, each with a switch for every fault it can
//! have (FAULTS 26, 29).
//!
//! ```text
//! cargo run -p touchline-tests --bin fake_upstream -- fake.toml
//! touchline demo --config fake.toml        # in another terminal; or `touchline serve`
//! ```
//! It writes a configuration that connects both, and then obeys its standard input, a line each:
//! `sensor FAULT`, `stream FAULT`, `say TEXT`, `end`. Names of faults are printed at the start. The
//! device's value changes once a second; somebody posts every two seconds.

use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use touchline_tests::stream::{Form, Stream, StreamFault};
use touchline_tests::upstream::{Fault, Upstream};

/// The team that both are about: one of the demo's.
const TEAM: &str = "ald";

fn main() -> Result<()> {
    let usage = "name the file of configuration to write: fake_upstream fake.toml";
    let file = std::env::args().nth(1).context(usage)?;
    let sensor = Arc::new(Upstream::start(&reading(0)));
    let stream = Arc::new(Stream::start(Form::Lines));
    let config = configuration(&sensor.url(), &stream.url());
    std::fs::write(Path::new(&file), config).with_context(|| format!("write {file}"))?;
    println!("wrote {file}: touchline demo --config {file}");
    println!("sensor: {}", names(&Fault::NAMED));
    println!("stream: {}", names(&StreamFault::NAMED));
    println!("say TEXT posts it; end ends this");
    let (device, posts) = (Arc::clone(&sensor), Arc::clone(&stream));
    // It ends with the process.
    std::thread::spawn(move || {
        for n in 1.. {
            std::thread::sleep(Duration::from_secs(1));
            device.set_body(&reading(n));
            if n % 2 == 0 {
                posts.say(&post(n, "aldermoor are playing well"));
            }
        }
    });
    for (n, line) in std::io::stdin().lock().lines().enumerate() {
        let line = line.context("read a command")?;
        match obey(&line, n, &sensor, &stream) {
            Ok(true) => println!("ok: {line}"),
            Ok(false) => return Ok(()),
            Err(error) => println!("{error:#}"),
        }
    }
    Ok(())
}

/// `false`: it is to end.
fn obey(line: &str, n: usize, sensor: &Upstream, stream: &Stream) -> Result<bool> {
    match line.trim().split_once(' ') {
        Some(("sensor", name)) => sensor.set_fault(find(&Fault::NAMED, name)?),
        Some(("stream", name)) => {
            stream.set_fault(find(&StreamFault::NAMED, name)?);
            stream.hang_up();
        }
        Some(("say", text)) => stream.say(&post(1_000_000 + n, text)),
        None if line.trim() == "end" => return Ok(false),
        _ => bail!("write `sensor FAULT`, `stream FAULT`, `say TEXT` or `end`"),
    }
    Ok(true)
}

fn find<F: Clone>(named: &[(&str, F)], name: &str) -> Result<F> {
    let found = named.iter().find(|(known, _)| *known == name.trim());
    let known = || format!("there is no fault `{name}`; there are {}", names(named));
    Ok(found.with_context(known)?.1.clone())
}

fn names<F>(named: &[(&str, F)]) -> String {
    named.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn reading(n: usize) -> String {
    let (value, sequence) = (n % 20, n + 1);
    format!(r#"{{"readings":[{{"key":"mast","n":{sequence},"v":{value}}}]}}"#)
}

fn post(id: usize, text: &str) -> String {
    serde_json::json!({ "id": id.to_string(), "text": text, "author": "fake" }).to_string()
}

fn configuration(sensor: &str, stream: &str) -> String {
    format!(
        r#"# Written by fake_upstream.
[sources.sensor.fake]
url = "{sensor}"
items = "/readings"
team = "{TEAM}"
type = "wind"
key = "/key"
sequence = "/n"
value = "/v"

[sources.social.fake-stream]
url = "{stream}"
kind = "lines"
id = "/id"
text = "/text"
author = "/author"
terms = ["{TEAM}: aldermoor"]
"#
    )
}
