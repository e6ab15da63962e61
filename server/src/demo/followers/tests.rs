//! Followers before a server that hangs up in mid-frame: they come back for exactly what they miss.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use touchline_core::frame::text_frame;
use touchline_core::log::{Epoch, Lane, Mark, Position, token};
use touchline_core::ws::close::{close_frame, ping_frame};

use super::*;
use crate::demo::Stopper;
use crate::demo::meter::Totals;
use crate::limits::demo::DELIVERY_WAIT;

const EVENTS: u64 = 60;

fn pos(seq: u64) -> String {
    token::encode_position(Epoch(7), Position { lane: Lane(0), seq })
}

fn event(seq: u64) -> String {
    let n = seq + 1;
    format!(
        r#"{{"op":"event","topic":"broadcast:a+b","pos":"{}","id":"d.a-b.{n}","data":{{}}}}"#,
        pos(seq)
    )
}

/// A server of one topic, whose nth connection ends as `ends` says.
#[derive(Clone)]
struct FakeServer {
    ends: &'static [End],
    /// `resume` part of each request, in order.
    asked: Arc<Mutex<Vec<String>>>,
    repeat: bool,
    skip: bool,
    /// As many of its events were acknowledged, all but the last a while ago.
    told: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    /// In the middle of a frame, after so many events.
    Cut(u64),
    /// Told to come back soon, then 1012.
    Drain(u64),
    /// Stays open.
    Stay,
    /// 4501.
    Forbid,
}

impl FakeServer {
    fn new(ends: &'static [End]) -> Self {
        Self { ends, asked: Arc::default(), repeat: false, skip: false, told: 0 }
    }

    /// Serves one follower until it has seen all; returns what it counted.
    async fn run(self, wanted: impl Fn(&Totals) -> bool) -> Totals {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = self.clone();
        tokio::spawn(async move {
            for n in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let end = server.ends[n % server.ends.len()];
                tokio::spawn(server.clone().serve(stream, end));
            }
        });
        let (meter, (stopper, stop)) = (Meter::default(), Stopper::new());
        let teams = vec![Team::new("a").unwrap()];
        let options = FollowersOptions { addresses: vec![address], count: 1, teams, seed: 1 };
        let followers = Followers::start(options, meter.clone(), stop).unwrap();
        let mut totals = Totals::default();
        for _ in 0..2_000 {
            totals = meter.read().totals;
            if wanted(&totals) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let now = Instant::now();
        meter.ledger(|ledger| {
            ledger.send("d.a-b", ["a", "b"], 1, now);
            ledger.acknowledge("d.a-b", self.told, now.checked_sub(DELIVERY_WAIT).unwrap());
            ledger.acknowledge("d.a-b", self.told + 1, now);
        });
        stopper.stop();
        tokio::task::spawn_blocking(|| followers.join()).await.unwrap();
        totals.owed = meter.read().totals.owed;
        assert!(wanted(&totals), "{totals:?}");
        totals
    }

    async fn serve(self, mut stream: TcpStream, end: End) {
        let Some(query) = read_query(&mut stream).await else { return };
        let fields: HashMap<&str, &str> =
            query.split('&').filter_map(|f| f.split_once('=')).collect();
        let after = fields.get("after").and_then(|after| after.rsplit_once('~'));
        let seq = |token: &str| token::decode_position(token).unwrap().1.seq + 1;
        let mark = fields.get("mark").map(|mark| token::decode_mark(mark).unwrap().next(Lane(0)));
        let own = mark.unwrap_or(0);
        let from = after.map_or(0, |(_, pos)| seq(pos)).max(own);
        self.asked.lock().unwrap().push(query.clone());
        let mut out = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
        let mut say = |text: &str| out.extend_from_slice(&text_frame(text.as_bytes()));
        say(r#"{"op":"hello","heartbeat_s":1}"#);
        let mark = |seq| token::encode_mark(&Mark { epoch: Epoch(7), next: [seq].into() });
        say(&format!(r#"{{"op":"subscribed","teams":["a"],"mark":"{}"}}"#, mark(own)));
        let to = match end {
            End::Cut(count) | End::Drain(count) => (from + count).min(EVENTS),
            End::Stay | End::Forbid => EVENTS,
        };
        for n in from..to {
            if !(self.skip && n == 20) {
                say(&event(n));
            }
            if n % 7 == 6 {
                say(&format!(r#"{{"op":"mark","mark":"{}"}}"#, mark(n + 1)));
            }
            if self.repeat && n == 10 {
                say(&event(n));
            }
        }
        self.end(stream, out, end, to).await;
    }

    async fn end(self, mut stream: TcpStream, mut out: Vec<u8>, end: End, to: u64) {
        match end {
            End::Cut(_) => out.extend_from_slice(&text_frame(event(to).as_bytes())[..30]),
            End::Drain(_) => {
                out.extend_from_slice(&text_frame(
                    br#"{"op":"reconnect","after_ms":5,"reason":"drain"}"#,
                ));
                out.extend_from_slice(&close_frame(CloseCode::from_number(1012).unwrap(), ""));
            }
            End::Forbid => {
                out.extend_from_slice(&close_frame(CloseCode::from_number(4501).unwrap(), ""));
            }
            End::Stay => out.extend_from_slice(&ping_frame(b"alive?")),
        }
        // In small pieces, so that frames are cut everywhere.
        for piece in out.chunks(97) {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if end == End::Stay {
            let mut pong = [0; 12];
            stream.read_exact(&mut pong).await.unwrap();
            assert_eq!(pong[..2], [0x8a, 0x86], "a masked pong of six bytes");
            let mut goodbye = Vec::new();
            drop(stream.read_to_end(&mut goodbye).await);
        }
    }
}

async fn read_query(stream: &mut TcpStream) -> Option<String> {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut raw).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(raw).unwrap();
    let target = text.split(' ').nth(1).unwrap();
    Some(target.split_once('?').unwrap().1.to_owned())
}

#[tokio::test]
async fn a_follower_that_is_cut_off_gets_everything_once() {
    const ENDS: &[End] =
        &[End::Cut(9), End::Drain(13), End::Cut(0), End::Cut(2), End::Drain(4), End::Stay];
    let server = FakeServer::new(ENDS);
    let totals = server.clone().run(|totals| totals.deliveries >= EVENTS).await;
    assert_eq!((totals.deliveries, totals.duplicates, totals.missing), (EVENTS, 0, 0));
    assert_eq!(totals.reconnects, 5);
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked[0], "teams=a");
    assert!(asked[1].contains("&mark=") && asked[1].contains("&after=broadcast:a+b~"), "{asked:?}");
}

#[tokio::test]
async fn what_the_server_repeats_or_skips_is_noticed() {
    let repeats = FakeServer { repeat: true, ..FakeServer::new(&[End::Stay]) };
    let totals = repeats.run(|totals| totals.deliveries >= EVENTS).await;
    assert_eq!((totals.duplicates, totals.missing), (1, 0));
    let skips = FakeServer { skip: true, ..FakeServer::new(&[End::Stay]) };
    let totals = skips.run(|totals| totals.deliveries >= EVENTS - 1).await;
    assert_eq!((totals.duplicates, totals.missing), (0, 1));
}

#[tokio::test]
async fn what_was_acknowledged_and_never_came_is_owed_when_a_follower_leaves() {
    for (told, owed) in [(EVENTS - 1, 0), (EVENTS, 0), (EVENTS + 3, 3)] {
        let server = FakeServer { told, ..FakeServer::new(&[End::Stay]) };
        let totals = server.run(|totals| totals.deliveries >= EVENTS).await;
        assert_eq!((totals.missing, totals.owed), (0, owed), "{told} were told");
    }
}

#[tokio::test]
async fn a_follower_that_is_not_wanted_stays_away() {
    let server = FakeServer::new(&[End::Forbid]);
    let totals = server.clone().run(|totals| totals.trouble.is_some()).await;
    assert_eq!(totals.trouble.as_deref(), Some("a follower was closed with 4501"));
    assert_eq!(server.asked.lock().unwrap().len(), 1);
}

#[test]
fn popularity_falls_off_as_zipf_says() {
    let teams: Vec<Team> = (0..20).map(|n| Team::new(&format!("t{n}")).unwrap()).collect();
    let count = |seed: u64| {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut count: HashMap<String, u32> = HashMap::new();
        for _ in 0..2_000 {
            for team in choose(&teams, &mut rng).split(',') {
                *count.entry(team.to_owned()).or_default() += 1;
            }
        }
        count
    };
    let (one, again) = (count(1), count(1));
    assert_eq!(one, again, "the seed decides");
    assert!(one["t0"] > 4 * one["t9"], "{one:?}");
    assert_eq!(one.len(), 20, "every team has somebody");
}
