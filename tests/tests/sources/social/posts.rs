//! What becomes of posts, and of streams that are well.

use std::time::{Duration, Instant};

use touchline_core::event::Stream as Kind;
use touchline_ingest::social::{Fate, SocialSource, Trouble};
use touchline_tests::stream::{Form, Stream};

use super::{MS, follow, post, source, until};

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
fn a_post_that_was_edited_costs_those_beside_it_nothing() {
    let stream = Stream::start(Form::Lines);
    follow(source(&stream, Form::Lines), |it| {
        until("it is open", || stream.open() == 1);
        it.ledger.reuse("2");
        stream.say_all((1..=3).map(|id| post(id, "arsenal")));
        it.expect("the others", &[1, 3]);
        until("counted", || it.stats.posts(Fate::Published) == 2);
        assert_eq!((it.stats.posts(Fate::Duplicate), it.stats.posts(Fate::Refused)), (1, 0));
        assert_eq!(it.stats.troubles_of(Trouble::IdReused), 1);
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
