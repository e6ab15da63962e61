//! `touchline dlq replay`: asks the running server, request by request, until all is done.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use reqwest::{Client, StatusCode};
use touchline_ingest::clock::system_clock;

use super::{Chosen, Exit, Failure, Given, admin, say};
use crate::dead::http::ReplayRequest;
use crate::dead::{Answer, Run};
use crate::limits::{REPLAY_LETTERS_MAX, REQUEST_TIMEOUT};

/// Beyond what the server takes at most.
const ANSWER_MAX: Duration = REQUEST_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Which letters, and how.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Also letters that were replayed before: the log is asked again
    #[arg(long)]
    again: bool,
    /// Also what lies so far back that the log can't tell whether it was taken by another way: you
    /// have looked
    #[arg(long)]
    late: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub fn replay(given: &Given, args: &ReplayArgs) -> Result<Exit, Failure> {
    args.chosen.check()?;
    let url = admin(given)?;
    let which = args.chosen.which.fixed(system_clock()).map_err(|fault| anyhow!(fault))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = Client::builder()
        .connect_timeout(Duration::from_secs(5))
        .timeout(ANSWER_MAX)
        .no_proxy()
        .user_agent(concat!("touchline/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("making an HTTP client")?;
    let ask = |request: &ReplayRequest| runtime.block_on(post(&client, &url, request));
    let common = ReplayRequest { again: args.again, late: args.late, ..Default::default() };
    let mut tally = Tally::default();
    if args.chosen.ids.is_empty() {
        let mut request = ReplayRequest { filter: Some(which), ..common.clone() };
        loop {
            let run = ask(&request)?;
            tally.take(&run, args.json)?;
            if run.next.is_none() || run.stopped.is_some() {
                break;
            }
            request.after = run.next;
        }
    }
    let mut left = &args.chosen.ids[..];
    while !left.is_empty() && tally.stopped.is_none() {
        let ids = left[..left.len().min(REPLAY_LETTERS_MAX)].to_vec();
        let run = ask(&ReplayRequest { ids: Some(ids), ..common.clone() })?;
        tally.take(&run, args.json)?;
        // A server that looked at none, and doesn't say why, would be asked for ever.
        if run.results.is_empty() {
            break;
        }
        left = &left[run.results.len().min(left.len())..];
    }
    tally.end(args.json)
}

async fn post(client: &Client, url: &str, request: &ReplayRequest) -> anyhow::Result<Run> {
    let sent = client.post(url).json(request).send().await;
    let answer = sent.with_context(|| {
        format!("asking {url}: is the server running? --admin names another address")
    })?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
    if status == StatusCode::OK || status == StatusCode::SERVICE_UNAVAILABLE {
        return serde_json::from_slice(&body).with_context(|| format!("{url} answers no JSON"));
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("it says no more");
    bail!("{url} answers {status}: {detail}")
}

/// What it has come to.
#[derive(Default)]
struct Tally {
    counts: [u64; 4],
    stopped: Option<String>,
}

impl Tally {
    fn take(&mut self, run: &Run, json: bool) -> Result<(), Failure> {
        for answer in &run.results {
            self.counts[answer.result as usize] += 1;
            say(line(answer, json)?.as_bytes())?;
        }
        self.stopped.clone_from(&run.stopped);
        Ok(())
    }

    fn end(self, json: bool) -> Result<Exit, Failure> {
        let [accepted, duplicates, too_old, refused] = self.counts;
        if !json {
            let text = format!(
                "{accepted} accepted, {duplicates} duplicate(s), {too_old} too old, {refused} \
                 refused\n"
            );
            say(text.as_bytes())?;
        }
        if let Some(why) = self.stopped {
            return Err(anyhow!("stopped: {why}; letters stay as they were").into());
        }
        Ok(if refused > 0 { Exit::Failed } else { Exit::Fine })
    }
}

fn line(answer: &Answer, json: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    if json {
        text = crate::logging::escape_rest(serde_json::to_string(answer)?);
    } else {
        let result = answer.result.as_str();
        let line = format!("{}  {result:<9}  {}", answer.id, answer.detail);
        crate::logging::put_visible(&mut text, &line);
    }
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::Outcome;

    #[test]
    fn fault_45_nothing_that_an_answer_says_acts_on_a_terminal() {
        let detail = "\u{9b}2J\u{7f}\u{202e}".to_owned();
        let answer = Answer { id: "7".into(), result: Outcome::Refused, detail };
        for text in [line(&answer, true).unwrap(), line(&answer, false).unwrap()] {
            let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(acts) && text.ends_with('\n'), "{text:?}");
        }
        let said: Answer = serde_json::from_str(&line(&answer, true).unwrap()).unwrap();
        assert_eq!(said, answer);
    }
}
