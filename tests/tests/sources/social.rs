//! Streams of posts, followed over real HTTP and WebSockets, in every trouble they can have.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use touchline_core::dead::{DeadLetter, DeadLetters, Desk};
use touchline_core::event::Stream as Kind;
use touchline_core::log::EventLog;
use touchline_core::time::Timestamp;
use touchline_ingest::broadcast::{Clock, system_clock};
use touchline_ingest::mapping::From;
use touchline_ingest::social::{
    BackoffRules, Fate, PostMapping, Rewind, Social, SocialKind, SocialSource, SocialStats, Trouble,
};
use touchline_tests::stream::{Form, Stream, StreamFault};

use crate::Ledger;

const MS: Duration = Duration::from_millis(1);

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
        post_bytes_max: 64 << 10,
        stall: Duration::from_secs(10),
        rewind: Rewind::None,
        rewind_parameter: "since_id".into(),
        backoff: BackoffRules {
            first: 20 * MS,
            max: 200 * MS,
            limited_first: 400 * MS,
            good_after: 10 * MS,
        },
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

/// Follows `source` by `clock` while `look` looks, on a runtime of one thread.
fn follow_by(clock: Clock, source: SocialSource, look: impl FnOnce(&Followed<'_>)) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ledger, letters) = (Ledger::new(), Arc::new(Letters::default()));
    let (log, dead): (Arc<dyn EventLog>, Arc<dyn DeadLetters>) = (ledger.clone(), letters.clone());
    let social = runtime.block_on(async { Social::start(vec![source], &log, &dead, &clock) });
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

#[test]
fn a_post_is_published_once_whatever_form_it_comes_in() {
    for form in Form::ALL {
        let stream = Stream::start(form);
        follow(source(&stream, form), |it| {
            until("it is open", || it.stats.is_connected() && stream.open() == 1);
            assert!(stream.heads()[0].1.contains("x-key: secret"), "{:?}", stream.heads());
            for (id, text) in [(1, "GUNNERS go"), (2, "rain"), (1, "GUNNERS go"), (3, "#afc")] {
                stream.say(&post(id, text));
            }
            it.expect("those of the team", &[1, 3]);
            let event = &it.ledger.events()[0];
            assert_eq!((event.stream, event.route.as_str()), (Kind::Social, "ars"), "{form:?}");
            assert_eq!(&*event.data, br#"{"author":"jo","text":"GUNNERS go"}"#);
            until("each has its fate", || it.stats.posts(Fate::Published) == 2);
            assert_eq!((it.stats.posts(Fate::NoTeam), it.stats.posts(Fate::Duplicate)), (1, 1));
            assert!(it.stats.staleness() < Duration::from_secs(5));
        });
    }
}

#[test]
fn fault_29_a_stream_that_is_lost_goes_on_where_it_was_and_repeats_are_swallowed() {
    for form in Form::ALL {
        for (rewind, parameter, fault, asks) in [
            (Rewind::SinceId, "since_id", StreamFault::EndAfter(3), "since_id=3"),
            (Rewind::LastEventId, "", StreamFault::ResetAfter(3), "last-event-id: "),
            (
                Rewind::BackfillMinutes,
                "backfill_minutes",
                StreamFault::EndAfter(3),
                "backfill_minutes=1",
            ),
        ] {
            let stream = Stream::start(form);
            stream.set_fault(fault.clone());
            stream.set_repeats(3);
            let rewind_parameter = parameter.into();
            let it = SocialSource { rewind, rewind_parameter, ..source(&stream, form) };
            follow(it, |it| {
                until("it is open", || stream.open() == 1);
                stream.say_all((1..=3).map(|id| post(id, "arsenal")));
                it.expect("the first three", &[1, 2, 3]);
                stream.set_fault(StreamFault::None);
                stream.say(&post(4, "arsenal"));
                it.expect("what was said while it was away", &[1, 2, 3, 4]);
                let head = &stream.heads()[1].1;
                assert!(head.contains(asks), "{form:?} {rewind:?}: {head}");
                until("repeats are swallowed", || it.stats.posts(Fate::Duplicate) >= 2);
                let lost =
                    it.stats.troubles_of(Trouble::Ended) + it.stats.troubles_of(Trouble::Broken);
                assert_eq!((lost, it.stats.connects()), (1, 2), "{form:?} {fault:?}");
            });
        }
    }
}

#[test]
fn fault_29_a_character_in_two_chunks_is_one_character() {
    for form in Form::ALL {
        let stream = Stream::start(form);
        stream.set_fault(StreamFault::CutCharacters);
        follow(source(&stream, form), |it| {
            until("it is open", || stream.open() == 1);
            stream.say(&post(1, "Tor für MÜNCHEN 🥅"));
            it.expect("the post", &[1]);
            let data = String::from_utf8(it.ledger.events()[0].data.to_vec()).unwrap();
            assert!(data.contains("Tor für MÜNCHEN 🥅"), "{form:?}: {data}");
        });
    }
}

#[test]
fn fault_29_who_is_told_off_stays_away_as_long_as_asked() {
    for (status, asked, at_least) in
        [(429, Some("1"), 1_000), (420, None, 300), (503, Some("1"), 1_000)]
    {
        let stream = Stream::start(Form::Lines);
        stream.set_fault(StreamFault::Status(status, asked));
        follow(source(&stream, Form::Lines), |it| {
            until("it asks again", || stream.heads().len() >= 2);
            let heads = stream.heads();
            let between = heads[1].0 - heads[0].0;
            assert!(between >= at_least * MS, "{status}: {between:?}");
            let trouble = if status == 503 { Trouble::Status } else { Trouble::Limited };
            assert!(it.stats.troubles_of(trouble) >= 1);
            assert!(!it.stats.is_connected());
            stream.set_fault(StreamFault::None);
            until("it is open", || stream.open() == 1);
            stream.say(&post(1, "arsenal"));
            it.expect("it is back", &[1]);
        });
    }
}

#[test]
fn fault_29_a_stream_without_a_byte_is_opened_again_and_keep_alives_are_bytes() {
    for form in Form::ALL {
        let stream = Stream::start(form);
        stream.set_fault(StreamFault::Silence);
        follow(SocialSource { stall: 400 * MS, ..source(&stream, form) }, |it| {
            until("it is given up", || it.stats.troubles_of(Trouble::Stalled) >= 2);
            let heads = stream.heads();
            assert!(heads[1].0 - heads[0].0 >= 400 * MS, "{form:?}");
            stream.set_fault(StreamFault::KeepAlive);
            until("it is open again", || it.stats.troubles_of(Trouble::Stalled) >= 3);
            until("it is open again", || it.stats.is_connected());
            let connects = it.stats.connects();
            std::thread::sleep(1_300 * MS);
            assert_eq!(it.stats.connects(), connects, "{form:?}: three stalls of keep-alives");
            stream.say(&post(1, "arsenal"));
            it.expect("it speaks", &[1]);
            if form == Form::Socket {
                assert!(stream.heard().contains(&(10, b"hi".to_vec())), "pings are answered");
            }
        });
    }
}

#[test]
fn fault_29_junk_and_posts_beyond_their_bound_cost_themselves_alone() {
    for form in Form::ALL {
        let stream = Stream::start(form);
        follow(source(&stream, form), |it| {
            until("it is open", || stream.open() == 1);
            stream.say("no json");
            stream.say(r#"{"text":"arsenal without an id"}"#);
            stream.say(&post(1, &"arsenal ".repeat(20_000)));
            stream.write(match form {
                Form::Lines => b"{\"id\":\"9\",\"text\":\"arsenal \xff\xfe\"}\n",
                Form::Events => b"data: {\"id\":\"9\",\"text\":\"arsenal \xff\xfe\"}\n\n",
                Form::Socket => b"{\"id\":\"9\",\"text\":\"arsenal \xff\xfe\"}",
            });
            stream.say(&post(2, "arsenal"));
            it.expect("what follows them", &[2]);
            let counted = |trouble| it.stats.troubles_of(trouble);
            assert_eq!(counted(Trouble::TooLarge), 1, "{form:?}");
            assert_eq!((counted(Trouble::BadJson), counted(Trouble::BadPost)), (2, 1), "{form:?}");
            assert_eq!((it.stats.posts(Fate::Unreadable), it.stats.connects()), (4, 1));
            let letters = it.letters.0.lock().unwrap();
            assert_eq!((letters.len(), letters[0].desk), (3, Desk::Social));
            assert_eq!((&*letters[0].raw, letters[0].reason), (&b"no json"[..], "bad_json"));
        });
    }
}

#[test]
fn fault_29_who_is_turned_away_says_so_and_tries_at_the_slow_end() {
    for (fault, trouble) in [
        (StreamFault::Status(401, None), Trouble::Barred),
        (StreamFault::Status(404, None), Trouble::Barred),
        (StreamFault::Redirect, Trouble::Redirect),
        (StreamFault::WrongType, Trouble::ContentType),
    ] {
        let stream = Stream::start(Form::Events);
        stream.set_fault(fault.clone());
        follow(source(&stream, Form::Events), |it| {
            until("it asks again", || stream.heads().len() >= 3);
            let heads = stream.heads();
            assert!(heads[1].0 - heads[0].0 >= 150 * MS, "{fault:?}: at once the longest wait");
            assert!(it.stats.troubles_of(trouble) >= 2, "{fault:?}");
            stream.set_fault(StreamFault::None);
            until("it is open once that is mended", || it.stats.is_connected());
        });
    }
}

#[test]
fn a_host_that_nobody_answers_on_is_asked_ever_more_rarely() {
    let stream = Stream::start(Form::Lines);
    let gone = source(&stream, Form::Lines);
    drop(stream);
    let begin = Instant::now();
    follow(gone, |it| {
        until("several attempts", || it.stats.troubles_of(Trouble::Connect) >= 5);
        assert!(begin.elapsed() >= 3 * (20 + 40 + 80 + 160) * MS / 4, "{:?}", begin.elapsed());
    });
}

#[test]
fn a_websocket_gets_its_first_message() {
    let stream = Stream::start(Form::Socket);
    let subscribe = Some(r#"{"op":"subscribe"}"#.into());
    follow(SocialSource { subscribe, ..source(&stream, Form::Socket) }, |_| {
        until("it is heard", || stream.heard().contains(&(1, br#"{"op":"subscribe"}"#.to_vec())));
    });
}

#[test]
fn of_server_sent_events_those_of_one_name_are_posts() {
    let stream = Stream::start(Form::Events);
    let event = Some("post".into());
    follow(SocialSource { event, ..source(&stream, Form::Events) }, |it| {
        until("it is open", || stream.open() == 1);
        stream.write(b"event: delete\ndata: 17\n\n");
        stream.say(&post(1, "arsenal"));
        it.expect("the post", &[1]);
        assert_eq!(it.stats.posts(Fate::Unreadable), 0);
    });
}

#[test]
fn a_log_that_is_behind_thins_the_stream_and_queues_nothing_without_bound() {
    let stream = Stream::start(Form::Lines);
    let it = SocialSource { posts_per_s_max: 10_000, ..source(&stream, Form::Lines) };
    follow(it, |it| {
        until("it is open", || stream.open() == 1);
        it.ledger.hold();
        for id in 0..5_000 {
            stream.say(&post(id, "arsenal"));
            if id < 100 {
                std::thread::sleep(MS);
            }
        }
        until("posts are dropped", || it.stats.troubles_of(Trouble::LogBehind) > 0);
        until("all have come", || {
            let handed = it.ledger.events().len() as u64;
            handed + it.stats.posts(Fate::Thinned) + 1_000 >= 5_000
        });
        it.ledger.let_go();
        let sum = || it.stats.fates().map(|(_, posts)| posts).sum::<u64>();
        until("each has its fate", || sum() == 5_000);
        assert_eq!(it.stats.posts(Fate::Published), it.ledger.events().len() as u64);
        stream.say(&post(9_999, "arsenal"));
        until("it goes on", || it.ids().contains(&"9999".into()));
    });
}

#[test]
fn what_the_log_refuses_is_news_when_it_comes_again() {
    let stream = Stream::start(Form::Lines);
    follow(source(&stream, Form::Lines), |it| {
        until("it is open", || stream.open() == 1);
        it.ledger.set_refusing(true);
        stream.say(&post(1, "arsenal"));
        until("refused", || it.stats.posts(Fate::Refused) == 1);
        it.ledger.set_refusing(false);
        stream.say(&post(1, "arsenal"));
        it.expect("taken", &[1]);
    });
}

#[test]
fn a_flood_is_thinned_to_its_cap_as_fast_as_it_comes() {
    let stream = Stream::start(Form::Lines);
    let it = SocialSource { posts_per_s_max: 10, ..source(&stream, Form::Lines) };
    follow(it, |it| {
        until("it is open", || stream.open() == 1);
        let (noise, begin) = ("x".repeat(1_000), Instant::now());
        stream.say_all((0..30_000).map(|id| match id % 3 {
            0 => post(id, "what a day for the Gunners"),
            _ => format!(r#"{{"id":"{id}","text":"nothing","more":"{noise}"}}"#),
        }));
        let sum = || it.stats.fates().map(|(_, posts)| posts).sum::<u64>();
        until("all have come", || sum() == 30_000);
        let took = begin.elapsed();
        println!("30,000 posts in {took:?}");
        assert!(took < Duration::from_secs(3), "{took:?} for three seconds' worth");
        let published = it.stats.posts(Fate::Published);
        assert!((10..=10 + 10 * (took.as_secs() + 1)).contains(&published), "{published}");
    });
}

#[test]
fn fault_40_a_clock_that_jumps_moves_no_timer() {
    let (stream, offset_s) = (Stream::start(Form::Lines), Arc::new(AtomicI64::new(0)));
    let of_clock = Arc::clone(&offset_s);
    let clock: Clock = Arc::new(move || {
        Timestamp(system_clock().0 + of_clock.load(Ordering::Relaxed) * 1_000_000)
    });
    let it = SocialSource { posts_per_s_max: 5, stall: 600 * MS, ..source(&stream, Form::Lines) };
    follow_by(clock, it, |it| {
        until("it is open", || stream.open() == 1);
        let begin = Instant::now();
        for (n, jump_s) in [0, 3_600, -3_600, 3_600, 0].into_iter().enumerate() {
            offset_s.store(jump_s, Ordering::Relaxed);
            let first = 100 * n as u32;
            stream.say_all((first..first + 20).map(|id| post(id, "arsenal")));
            std::thread::sleep(100 * MS);
        }
        let sum = || it.stats.fates().map(|(_, posts)| posts).sum::<u64>();
        until("each has its fate", || sum() == 100);
        let due = 5 + 5 * (begin.elapsed().as_secs() + 1);
        let published = it.stats.posts(Fate::Published);
        assert!((5..=due).contains(&published), "{published}: a jump fills no bucket");
        assert_eq!(it.stats.connects(), 1, "nor is it a stall");
        assert!(it.stats.staleness() < Duration::from_secs(5));
        let quiet = Instant::now();
        until("a stall is one by any clock", || it.stats.troubles_of(Trouble::Stalled) == 1);
        assert!(quiet.elapsed() < Duration::from_secs(5));
    });
}
