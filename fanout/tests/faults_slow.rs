//! Readers that stop (FAULTS 23): each stream's policy, and that nobody else misses anything.

mod common;

use bytes::Bytes;
use common::{Stage, event, eventually, member, on_both_backends};
use touchline_core::event::{Event, SensorKey, Stream};
use touchline_core::metrics::Counter;
use touchline_fanout::testing::Heard;

#[test]
fn fault_23_a_reader_that_stops_is_4008_and_the_others_miss_nothing() {
    on_both_backends(|mut options| {
        options.rules.hub.streams[0].queue_bytes_max = 256 * 1024;
        let stage = Stage::start(options);
        let mut stuck = stage.follow("teams=ars");
        let mut other = stage.follow("teams=ars");
        for n in 0..8_000 {
            let mut event = event("ars", &format!("e{n}"));
            event.data = format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)).into();
            stage.log.push(vec![event]);
            assert_eq!(member(&other.text(), "id"), format!("e{n}"));
            // Its close has a deadline of five seconds, so go and read it at once.
            if stage.sum(|stats| stats.slow_closed.get()) == 1 {
                break;
            }
        }
        eventually("judged", || stage.sum(|stats| stats.slow_closed.get()) == 1);
        // Who reads again finds whole frames, then the reason.
        let mut next = 0;
        let close = loop {
            match stuck.hear() {
                Heard::Text(text) => {
                    assert_eq!(member(&text, "id"), format!("e{next}"));
                    next += 1;
                }
                other => break other,
            }
        };
        assert!(matches!(close, Heard::Close(Some(4008), _)), "{close:?} after {next}");
        stage.stop();
    });
}

#[test]
fn fault_23_a_reader_that_stops_is_told_which_posts_it_missed_and_gets_the_latest_values() {
    on_both_backends(|mut options| {
        options.rules.hub.streams[Stream::Social as usize].queue_bytes_max = 64 * 1024;
        let stage = Stage::start(options);
        let mut stuck = stage.follow("teams=ars&streams=social,sensor");
        let mut other = stage.follow("teams=ars&streams=social,sensor");
        let mut push = |id: String, of: &dyn Fn(&mut Event)| {
            let mut event = event("ars", &id);
            of(&mut event);
            stage.log.push(vec![event]);
            assert_eq!(member(&other.text(), "id"), id);
        };
        let data = Bytes::from(format!(r#"{{"pad":"{}"}}"#, "x".repeat(900)));
        let gaps = || stage.sum(|stats| stats.gaps.iter().map(Counter::get).sum());
        let mut posts = 0;
        while gaps() == 0 {
            assert!(posts < 20_000, "it is never too far behind");
            push(format!("p{posts}"), &|event: &mut Event| {
                (event.stream, event.data) = (Stream::Social, data.clone());
            });
            posts += 1;
        }
        for n in 0..50 {
            push(format!("v{n}"), &|event: &mut Event| {
                event.stream = Stream::Sensor;
                event.sensor = Some(SensorKey { key: "wind".into(), sequence: Some(n) });
            });
        }
        let (mut heard, mut values, mut told) = (0, Vec::new(), 0);
        while values.last().is_none_or(|last| last != "v49") {
            match stuck.hear() {
                Heard::Text(text) if text.starts_with(r#"{"op":"gap""#) => told += 1,
                Heard::Text(text) => match member(&text, "id") {
                    value if value.starts_with('v') => values.push(value.to_owned()),
                    _ => heard += 1,
                },
                other => panic!("{other:?} after {heard} posts"),
            }
        }
        assert!(told > 0 && heard < posts, "{told} gaps, {heard} of {posts} posts");
        assert!(values.len() < 50, "only the latest count: {values:?}");
        stage.stop();
    });
}
