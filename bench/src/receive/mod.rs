//! The clients: a process of their own, so that their cost is never the server's.
//!
//! The controller speaks to it in lines of JSON: a [`Command`] on standard input, an [`Answer`] on
//! standard output. Behind that are as many [`worker`] threads as the sockets need descriptor
//! tables.

pub mod tally;
mod worker;

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::child::{answer, commands};
use crate::dialogue::Dialogue;
use crate::limits::{SOCKETS_PER_TABLE_MAX, WINDOWS_MAX};
use crate::schedule::{Following, Schedule, Window, followers};
use crate::sys;
use tally::Harvest;
use worker::{Client, Order, Progress, Worker};

/// What the controller wants.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Open clients and subscribe them. Answered once all are ready.
    Connect(Connect),
    /// Record what comes in from now on.
    Record {
        /// What is going to be published.
        schedule: Schedule,
        /// What is measured together.
        windows: Vec<Window>,
    },
    /// How far it is.
    Progress,
    /// What was recorded.
    Finish,
}

/// Which clients to open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connect {
    /// The server's stream address.
    pub target: SocketAddrV4,
    /// How its clients become followers.
    pub dialogue: Dialogue,
    /// How many clients.
    pub sockets: usize,
    /// How many teams they follow, one each.
    pub teams: u32,
    /// By which law.
    pub following: Following,
    /// How many of them never read.
    pub stalled: usize,
}

/// What the controller is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// All clients are subscribed.
    Connected {
        /// From the first connect to the last `subscribed`.
        seconds: f64,
    },
    /// Recording has begun.
    Recording,
    /// How far it is.
    Progress {
        /// Events received so far, once for each client.
        delivered: u64,
        /// Connections that ended.
        closed: u64,
    },
    /// What was recorded.
    Harvest(Harvest),
    /// It can't be done; the text says why.
    Failed(String),
}

struct Handle {
    orders: Sender<Order>,
    progress: Arc<Progress>,
}

/// Runs the process: carries out commands until standard input ends.
pub fn run() -> Result<()> {
    sys::raise_file_limit().context("raise the limit of open files")?;
    let mut workers = Vec::new();
    for command in commands()? {
        let said = match carry_out(&mut workers, command?) {
            Ok(said) => said,
            Err(error) => Answer::Failed(format!("{error:#}")),
        };
        answer(&said)?;
    }
    Ok(())
}

fn carry_out(workers: &mut Vec<Handle>, command: Command) -> Result<Answer> {
    match command {
        Command::Connect(connect) => open(workers, &connect),
        Command::Record { schedule, windows } => {
            if windows.len() > WINDOWS_MAX {
                bail!("{} windows are more than {WINDOWS_MAX}", windows.len());
            }
            let schedule = Arc::new(schedule);
            tell(workers, |_| Order::Record(schedule.clone(), windows.clone()))?;
            Ok(Answer::Recording)
        }
        Command::Progress => Ok(Answer::Progress {
            delivered: total(workers, |progress| &progress.delivered),
            closed: total(workers, |progress| &progress.closed),
        }),
        Command::Finish => finish(workers),
    }
}

fn tell(workers: &[Handle], order: impl Fn(usize) -> Order) -> Result<()> {
    for (index, worker) in workers.iter().enumerate() {
        worker.orders.send(order(index)).map_err(|_| anyhow!("receiver {index} has ended"))?;
    }
    Ok(())
}

fn total(workers: &[Handle], field: impl Fn(&Progress) -> &AtomicU64) -> u64 {
    workers.iter().map(|worker| field(&worker.progress).load(Relaxed)).sum()
}

fn open(workers: &mut Vec<Handle>, connect: &Connect) -> Result<Answer> {
    let clients = clients(connect);
    let count = clients.len().div_ceil(SOCKETS_PER_TABLE_MAX).max(1);
    while workers.len() < count {
        workers.push(start_worker(workers.len())?);
    }
    let started = Instant::now();
    let share = |index| clients.iter().copied().skip(index).step_by(count).collect();
    let dialogue = Arc::new(connect.dialogue.clone());
    let order = |index| Order::Connect(connect.target, Arc::clone(&dialogue), share(index));
    tell(&workers[..count], order)?;
    let deadline = Duration::from_secs(20 + connect.sockets as u64 / 1_000);
    loop {
        let ready = total(workers, |progress| &progress.ready) as usize;
        let failed = total(workers, |progress| &progress.failed);
        if failed > 0 {
            bail!("{failed} of {} clients could not connect to {}", clients.len(), connect.target);
        }
        if ready >= clients.len() {
            return Ok(Answer::Connected { seconds: started.elapsed().as_secs_f64() });
        }
        if started.elapsed() > deadline {
            bail!("only {ready} of {} clients are subscribed after {deadline:?}", clients.len());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Teams are dealt out like cards, so that every worker, and every shard, has followers of each.
fn clients(connect: &Connect) -> Vec<Client> {
    let mut left = followers(connect.following, connect.sockets, connect.teams);
    let mut clients = Vec::with_capacity(connect.sockets);
    while clients.len() < connect.sockets {
        for (team, left) in left.iter_mut().enumerate().filter(|(_, left)| **left > 0) {
            *left -= 1;
            let stalled = false;
            clients.push(Client { team: team as u32, stalled });
        }
    }
    // The ones that never read stand evenly among the others.
    let step = connect.sockets / connect.stalled.max(1);
    for index in 0..connect.stalled {
        clients[index * step].stalled = true;
    }
    clients
}

fn start_worker(index: usize) -> Result<Handle> {
    let (orders, inbox) = channel();
    let progress = Arc::new(Progress::default());
    let number = u8::try_from(index).ok().filter(|number| *number < u8::MAX);
    let number = number.context("more receivers than 127.0.x.y has room for")?;
    let shared = progress.clone();
    let run = move || {
        let worker = sys::unshare_files().and_then(|()| Worker::new(number, inbox, shared));
        if let Err(error) = worker.and_then(Worker::run) {
            eprintln!("receiver {index}: {error}");
        }
    };
    std::thread::Builder::new().name(format!("receiver-{index}")).spawn(run)?;
    Ok(Handle { orders, progress })
}

fn finish(workers: &[Handle]) -> Result<Answer> {
    let (reply, tallies) = channel();
    tell(workers, |_| Order::Finish(reply.clone()))?;
    drop(reply);
    let mut merged = tallies.recv().context("no receiver is left")?;
    for tally in tallies {
        merged.merge(&tally);
    }
    Ok(Answer::Harvest(merged.harvest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_dealt_out_evenly_and_the_stalled_stand_among_them() {
        let target = "127.0.0.1:1".parse().unwrap();
        let following = Following::Zipf;
        let dialogue = Dialogue::touchline();
        let connect =
            Connect { target, dialogue, sockets: 1_000, teams: 10, following, stalled: 10 };
        let clients = clients(&connect);
        let followers = followers(following, 1_000, 10);
        for team in 0..10 {
            let count = clients.iter().filter(|client| client.team == team).count();
            assert_eq!(count, followers[team as usize]);
        }
        assert_eq!(clients.iter().filter(|client| client.stalled).count(), 10);
        assert!(clients[..500].iter().filter(|client| client.stalled).count() == 5);
    }
}
