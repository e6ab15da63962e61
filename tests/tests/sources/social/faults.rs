//! FAULTS 29 and 40, over real HTTP and WebSockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use touchline_core::dead::Desk;
use touchline_core::time::Timestamp;
use touchline_ingest::clock::{Clock, system_clock};
use touchline_ingest::social::{BackoffRules, Fate, Rewind, SocialSource, Trouble};
use touchline_tests::stream::{Form, Stream, StreamFault};

use super::{MS, RULES, follow, follow_by, follow_in, post, source, until};

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
fn fault_29_a_place_is_kept_only_when_the_log_has_all_that_came_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let place = || std::fs::read_to_string(folder.path().join("plaza.place")).unwrap_or_default();
    let stream = Stream::start(Form::Lines);
    let it = SocialSource { rewind: Rewind::SinceId, ..source(&stream, Form::Lines) };
    let follow = |look: &dyn Fn(&super::Followed<'_>)| {
        let clock: Clock = Arc::new(system_clock);
        follow_in(Some(folder.path()), clock, it.clone(), |it| look(it));
    };
    follow(&|it| {
        until("it is open", || stream.open() == 1);
        it.ledger.hold();
        stream.say_all((1..=3).map(|id| post(id, "arsenal")));
        it.expect("the log is asked", &[1, 2, 3]);
        std::thread::sleep(3_000 * MS);
        assert_eq!(place(), "", "it has not answered");
        it.ledger.let_go();
        until("the place is kept", || place().contains(r#""id":"3""#));
        it.ledger.set_refusing(true);
        stream.say(&post(4, "arsenal"));
        until("it is refused", || it.stats.posts(Fate::Refused) == 1);
        it.ledger.set_refusing(false);
        stream.say(&post(5, "arsenal"));
        it.expect("the next is taken", &[1, 2, 3, 5]);
        std::thread::sleep(3_000 * MS);
        assert!(place().contains(r#""id":"3""#), "the fourth is wanted again: {}", place());
    });
    stream.set_repeats(2);
    follow(&|it| {
        until("it asks from there", || stream.heads().len() == 2);
        assert!(stream.heads()[1].1.contains("since_id=3"), "{}", stream.heads()[1].1);
        it.expect("what was refused is there", &[4, 5]);
        until("the place is kept", || place().contains(r#""id":"5""#));
    });
    let elsewhere = SocialSource { rewind: Rewind::LastEventId, ..it.clone() };
    follow_in(Some(folder.path()), Arc::new(system_clock), elsewhere, |_| {
        until("it begins anew", || stream.heads().len() == 3);
        assert!(!stream.heads()[2].1.contains("last-event-id"), "another way to go on");
    });
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
fn fault_29_who_is_told_off_and_asked_back_at_once_hammers_nobody() {
    for asked in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let stream = Stream::start(Form::Lines);
        stream.set_fault(StreamFault::Status(429, Some(asked)));
        follow(source(&stream, Form::Lines), |it| {
            until("it asks again", || stream.heads().len() >= 2);
            std::thread::sleep(1_000 * MS);
            // 20, 40, 80, 160 and then 200 ms, a quarter off at most.
            let requests = stream.heads().len();
            assert!(requests <= 12, "{asked}: {requests} requests in a second");
            assert!(it.stats.troubles_of(Trouble::Limited) >= 2);
        });
    }
}

#[test]
fn fault_29_a_stream_without_a_byte_is_opened_again_and_keep_alives_are_bytes() {
    for form in Form::ALL {
        let stream = Stream::start(form);
        stream.set_fault(StreamFault::Silence);
        follow(SocialSource { stall: 1_000 * MS, ..source(&stream, form) }, |it| {
            until("it is given up", || it.stats.troubles_of(Trouble::Stalled) >= 2);
            let heads = stream.heads();
            assert!(heads[1].0 - heads[0].0 >= 1_000 * MS, "{form:?}");
            stream.set_fault(StreamFault::KeepAlive);
            // The silent connection, if there is one, has its stall behind it then.
            std::thread::sleep(1_500 * MS);
            until("it is open again", || it.stats.is_connected());
            let connects = it.stats.connects();
            std::thread::sleep(3_300 * MS);
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
            let raw = &b"{\"id\":\"9\",\"text\":\"arsenal \xff\xfe\"}"[..];
            assert_eq!((&*letters[2].raw, letters[2].reason), (raw, "bad_json"), "{form:?}");
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
fn fault_29_a_quiet_stream_that_breaks_now_and_then_is_asked_for_again_at_once_each_time() {
    for form in Form::ALL {
        let stream = Stream::start(form);
        stream.set_fault(StreamFault::EndAfterKeepAlives(3));
        let backoff =
            BackoffRules { first: 20 * MS, max: 60_000 * MS, good_after: 100 * MS, ..RULES };
        follow(SocialSource { backoff, ..source(&stream, form) }, |it| {
            // Doubled each time, the eleventh wait alone were 20 s.
            until("it is asked for a twelfth time", || stream.heads().len() >= 12);
            assert!(it.stats.posts(Fate::NoTeam) == 0, "no post has come");
        });
    }
}

#[test]
fn a_stream_whose_task_panics_is_followed_anew() {
    let (stream, panics) = (Stream::start(Form::Lines), Arc::new(AtomicI64::new(0)));
    let of_clock = Arc::clone(&panics);
    let clock: Clock = Arc::new(move || {
        let left = of_clock.fetch_sub(1, Ordering::Relaxed);
        assert!(left <= 0, "a clock that panics, as the test wants it");
        system_clock()
    });
    follow_by(clock, source(&stream, Form::Lines), |it| {
        until("it is open", || stream.open() == 1);
        panics.store(3, Ordering::Relaxed);
        stream.say(&post(1, "arsenal"));
        until("each panic is counted", || it.stats.troubles_of(Trouble::Panicked) == 3);
        until("it is open again", || it.stats.is_connected());
        stream.say(&post(2, "arsenal"));
        it.expect("what comes then", &[2]);
    });
}

#[test]
fn fault_40_a_clock_that_jumps_moves_no_timer() {
    let (stream, offset_s) = (Stream::start(Form::Lines), Arc::new(AtomicI64::new(0)));
    let of_clock = Arc::clone(&offset_s);
    let clock: Clock = Arc::new(move || {
        Timestamp(system_clock().0 + of_clock.load(Ordering::Relaxed) * 1_000_000)
    });
    let it = SocialSource { posts_per_s_max: 5, stall: 1_500 * MS, ..source(&stream, Form::Lines) };
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
