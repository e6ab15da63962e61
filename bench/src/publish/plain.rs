//! Publishing to another product: one request or one message for each event, over one connection,
//! in order.

use std::io::Write as _;
use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method};

use super::{Posted, histogram};
use crate::schedule::{Schedule, team_name};
use crate::sys;
use crate::target::file::Publish;

/// Publishes all of `schedule`, each event when it is due or as soon after as the product allows.
pub fn play(publish: &Publish, schedule: &Schedule) -> Result<Posted> {
    let mut door = Door::open(publish)?;
    let mut latencies = histogram();
    let mut posted = Posted::default();
    for n in 0..schedule.events() {
        sys::sleep_until(schedule.due_ns(n));
        let data = schedule.stamp(n).data(schedule.pad);
        door.send(&team_name(schedule.team(n)), &data)?;
        let waited = sys::now_ns().saturating_sub(schedule.due_ns(n));
        latencies.saturating_record((waited / 1_000).max(1));
        posted.posts += 1;
        posted.events += 1;
    }
    Ok(posted.finish(schedule, &latencies))
}

/// An open way to publish.
enum Door<'p> {
    Http { runtime: tokio::runtime::Runtime, client: Client, publish: &'p Publish },
    Tcp { stream: TcpStream, message: &'p str },
}

impl<'p> Door<'p> {
    fn open(publish: &'p Publish) -> Result<Self> {
        match publish {
            Publish::Http { .. } => {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let timeout = std::time::Duration::from_secs(super::POST_S_MAX);
                let client = Client::builder().timeout(timeout).tcp_nodelay(true).build()?;
                Ok(Self::Http { runtime, client, publish })
            }
            Publish::Tcp { address, greeting, message } => {
                let mut stream = TcpStream::connect(address)
                    .with_context(|| format!("publish to {address}"))?;
                stream.set_nodelay(true)?;
                stream.write_all(greeting.as_bytes())?;
                let mut answers = stream.try_clone()?;
                // What it answers is of no interest, but must not fill its buffers.
                std::thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
                Ok(Self::Tcp { stream, message })
            }
            Publish::Webhook => bail!("webhooks are Touchline's own"),
        }
    }

    fn send(&mut self, team: &str, data: &str) -> Result<()> {
        match self {
            Self::Tcp { stream, message } => {
                let text = fill(message, team, data);
                stream.write_all(text.as_bytes()).context("the product closed its publisher")
            }
            Self::Http { runtime, client, publish } => {
                let Publish::Http { url, method, headers, body } = *publish else {
                    bail!("opened as HTTP");
                };
                let method = Method::from_bytes(method.as_bytes()).context("an HTTP method")?;
                let url = fill(url, team, data);
                let mut request = client.request(method, &url).body(fill(body, team, data));
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                runtime.block_on(async {
                    let answer = request.send().await.with_context(|| format!("post to {url}"))?;
                    if !answer.status().is_success() {
                        bail!("{url} answered {}", answer.status());
                    }
                    answer.bytes().await?;
                    Ok(())
                })
            }
        }
    }
}

fn fill(text: &str, team: &str, data: &str) -> String {
    text.replace("{team}", team).replace("{len}", &data.len().to_string()).replace("{data}", data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_holds_team_length_and_data() {
        assert_eq!(fill("PUB {team} {len}\r\n{data}\r\n", "t001", "{}"), "PUB t001 2\r\n{}\r\n");
    }
}
