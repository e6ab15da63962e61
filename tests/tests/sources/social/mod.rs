//! Claim: a stream of posts, whatever form it comes in, is thinned to what each team may have,
//! shown once, and followed through every trouble it can have.

mod faults;
mod posts;
mod turns;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use touchline_core::dead::{DeadLetter, DeadLetters};
use touchline_core::log::EventLog;
use touchline_ingest::clock::{Clock, system_clock};
use touchline_ingest::mapping::From;
use touchline_ingest::outbound::Surroundings;
use touchline_ingest::roster::{Alone, Roster};
use touchline_ingest::social::{
    BackoffRules, PostMapping, Rewind, Social, SocialKind, SocialSource, SocialStats,
};
use touchline_tests::stream::{Form, Stream};

use crate::Ledger;

const MS: Duration = Duration::from_millis(1);

const RULES: BackoffRules = BackoffRules {
    first: Duration::from_millis(20),
    max: Duration::from_millis(200),
    limited_first: Duration::from_millis(400),
    good_after: Duration::from_millis(10),
};

fn source(stream: &Stream, form: Form) -> SocialSource {
    SocialSource {
        name: "plaza".into(),
        url: stream.url().into(),
        kind: match form {
            Form::Lines => SocialKind::Lines,
            Form::Events => SocialKind::Events,
            Form::Socket => SocialKind::WebSocket,
        },
        headers: vec![("x-key".into(), "secret".into())],
        event: None,
        subscribe: None,
        mapping: PostMapping {
            id: From::parse("/id"),
            text: From::parse("/text"),
            time: None,
            kind: From::parse("post"),
            author: Some(From::parse("/by")),
            value: None,
        },
        terms: vec!["ars: arsenal, gunners, #afc".into(), "mun: münchen".into()],
        posts_per_s_max: 1_000,
        routes_max: 512,
        post_bytes_max: 64 << 10,
        stall: Duration::from_secs(10),
        rewind: Rewind::None,
        rewind_parameter: "since_id".into(),
        backoff: RULES,
    }
}

fn post(id: u32, text: &str) -> String {
    format!(r#"{{"id":"{id}","text":"{text}","by":"jo"}}"#)
}

/// Keeps what it is given.
#[derive(Default)]
struct Letters(Mutex<Vec<DeadLetter>>);

impl DeadLetters for Letters {
    fn park(&self, letter: DeadLetter) {
        self.0.lock().unwrap().push(letter);
    }
}

struct Followed<'a> {
    stats: &'a SocialStats,
    ledger: &'a Ledger,
    letters: &'a Letters,
}

impl Followed<'_> {
    fn ids(&self) -> Vec<String> {
        self.ledger.events().iter().map(|event| event.id.to_string()).collect()
    }

    /// Waits until these have been published, in this order, and nothing else.
    fn expect(&self, what: &str, ids: &[u32]) {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        let begin = Instant::now();
        while self.ids() != ids {
            assert!(begin.elapsed() < 20_000 * MS, "{what}: {:?}, not {ids:?}", self.ids());
            std::thread::sleep(5 * MS);
        }
    }
}

/// Follows `source` by `clock` while `look` looks.
fn follow_by(clock: Clock, source: SocialSource, look: impl FnOnce(&Followed<'_>)) {
    follow_in(None, clock, source, look);
}

/// The same on a runtime of one thread, with its place kept in `places`.
fn follow_in(
    places: Option<&Path>,
    clock: Clock,
    source: SocialSource,
    look: impl FnOnce(&Followed<'_>),
) {
    let at = Setting { places, clock, roster: Arc::new(Alone) };
    follow_at(at, source, look);
}

/// What a stream is followed in.
struct Setting<'a> {
    places: Option<&'a Path>,
    clock: Clock,
    roster: Arc<dyn Roster>,
}

fn follow_at(at: Setting<'_>, source: SocialSource, look: impl FnOnce(&Followed<'_>)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ledger, letters) = (Ledger::new(), Arc::new(Letters::default()));
    let (log, dead): (Arc<dyn EventLog>, Arc<dyn DeadLetters>) = (ledger.clone(), letters.clone());
    let mut around = Surroundings::new(log, at.clock, dead);
    (around.places, around.roster) = (at.places.map(Into::into), at.roster);
    let social = runtime.block_on(async { Social::start(vec![source], &around) });
    let social = social.unwrap();
    look(&Followed { stats: &social.stats()[0], ledger: &ledger, letters: &letters });
    runtime.block_on(social.stop());
}

fn follow(source: SocialSource, look: impl FnOnce(&Followed<'_>)) {
    follow_by(Arc::new(system_clock), source, look);
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(5 * MS);
    }
}
