//! A connection reads what a server sends, and counts what is missing.

use std::io;

use super::*;
use crate::schedule::{Phase as Stretch, Schedule, Window};
use touchline_core::frame::text_frame;
use touchline_core::log::token::{encode_mark, encode_position};
use touchline_core::log::{Epoch, Lane, Mark, Position};

fn live() -> (Conn, Tally) {
    let client = Client { team: 0, reading: Reading::Prompt };
    let mut conn = Conn::new(None, client, true);
    conn.phase = Phase::Live;
    let phases = vec![Stretch::even("x", 9.0, 1.0, 1)];
    let plan = Schedule { start_ns: 0, teams: 1, pad: 0, phases }.plan();
    let stream = Stream::Broadcast;
    let window = Window { from_ns: 0, to_ns: 100, team_first: 0, stream };
    (conn, Tally::new(&[window], &plan))
}

fn event(seq: u32) -> Vec<u8> {
    let data = Stamp { t: 1, seq, n: seq }.data(0);
    text_frame(format!(r#"{{"op":"event","pos":"p{seq}","data":{data}}}"#).as_bytes()).to_vec()
}

#[test]
fn loss_and_repetition_are_counted_for_each_socket() {
    let (mut conn, mut tally) = live();
    let stream: Vec<u8> = [0, 1, 1, 4, 3, 5].into_iter().flat_map(event).collect();
    take(&mut conn, &Dialogue::touchline(&[Stream::Broadcast]), &mut tally, &stream, 9).unwrap();
    let counts = &tally.counts;
    assert_eq!((counts.delivered, counts.lost, counts.repeated), (4, 2, 2));
    assert_eq!(conn.known.unwrap().position, "p5");
}

#[test]
fn each_stream_is_counted_on_its_own() {
    let (mut conn, mut tally) = live();
    let seqs = [(Stream::Broadcast, 0), (Stream::Sensor, 0), (Stream::Sensor, 2)];
    let seqs = seqs.into_iter().chain([(Stream::Broadcast, 1), (Stream::Sensor, 1)]);
    let stream: Vec<u8> = seqs.flat_map(|(stream, number)| event(stream.seq(number))).collect();
    let dialogue = Dialogue::touchline(&Stream::ALL);
    take(&mut conn, &dialogue, &mut tally, &stream, 9).unwrap();
    let counts = &tally.counts;
    assert_eq!((counts.delivered, counts.lost, counts.repeated), (4, 1, 1));
}

/// An event and its frame, at a place of the log.
fn event_at(stream: Stream, number: u32, at: u64) -> Vec<u8> {
    let (data, pos) = (Stamp { t: 1, seq: stream.seq(number), n: number }.data(0), pos(at));
    text_frame(format!(r#"{{"op":"event","pos":"{pos}","data":{data}}}"#).as_bytes()).to_vec()
}

fn pos(seq: u64) -> String {
    encode_position(Epoch(7), Position { lane: Lane(0), seq })
}

fn gap(stream: Stream, from: u64, to: u64) -> Vec<u8> {
    let (stream, from, to) = (stream.as_str(), pos(from), pos(to));
    let text = format!(
        r#"{{"op":"gap","topic":"{stream}:t000","from":"{from}","to":"{to}","reason":"slow"}}"#
    );
    text_frame(text.as_bytes()).to_vec()
}

/// What was counted of these frames, and of what was due and didn't come: declared and lost.
fn judged(frames: &[Vec<u8>], due: [u32; Stream::COUNT]) -> (u64, u64) {
    let (mut conn, mut tally) = live();
    let dialogue = Dialogue::touchline(&Stream::ALL);
    take(&mut conn, &dialogue, &mut tally, &frames.concat(), 9).unwrap();
    let [declared, lost] = conn.missing(due);
    (tally.counts.declared + declared, tally.counts.lost + lost)
}

#[test]
fn a_gap_excuses_the_hole_that_it_names_and_no_other() {
    let (goals, values) = (Stream::Broadcast, Stream::Sensor);
    let first = || event_at(goals, 0, 10);
    let last = |number, at| event_at(goals, number, at);
    assert_eq!(judged(&[first(), gap(goals, 11, 12), last(3, 13)], [4, 0, 0]), (2, 0));
    let twice = [first(), gap(goals, 11, 12), last(3, 13), last(9, 19)];
    assert_eq!(judged(&twice, [10, 0, 0]), (2, 5), "it is used up");
    let small = [first(), gap(goals, 11, 12), last(9, 19)];
    assert_eq!(judged(&small, [10, 0, 0]), (2, 6), "a larger hole than it names");
    let other = [first(), gap(values, 11, 12), last(3, 13)];
    assert_eq!(judged(&other, [4, 0, 0]), (0, 2), "another stream's");
    let between = [first(), gap(goals, 11, 12), event_at(values, 0, 14), last(3, 15)];
    assert_eq!(judged(&between, [4, 0, 1]), (2, 0), "another stream's event comes between");
    let early = [first(), gap(goals, 20, 22), last(3, 13), last(7, 23)];
    assert_eq!(judged(&early, [8, 0, 0]), (3, 2), "it names a later hole");
    assert_eq!(judged(&[first(), gap(goals, 11, 13)], [4, 0, 0]), (3, 0), "at the very end");
    assert_eq!(judged(&[first(), gap(goals, 11, 12)], [4, 0, 0]), (2, 1), "and no more than that");
}

#[test]
fn not_recovered_excuses_nothing_without_a_gap_unless_a_server_says_no_more() {
    let told = br#"{"op":"subscribed","id":1,"teams":["t000"],"mark":"m","recovered":false}"#;
    let judged = |dialogue: &Dialogue, gaps: &[Vec<u8>]| {
        let (mut conn, mut tally) = live();
        conn.phase = Phase::Subscribing;
        let last = [event_at(Stream::Broadcast, 9, 29)];
        let frames = [&[text_frame(told).to_vec()], gaps, &last].concat().concat();
        take(&mut conn, dialogue, &mut tally, &frames, 9).unwrap();
        (tally.counts.declared, tally.counts.lost)
    };
    let ours = Dialogue::touchline(&[Stream::Broadcast]);
    assert_eq!(judged(&ours, &[]), (0, 9), "a hole that nothing names");
    let mark = |next| encode_mark(&Mark { epoch: Epoch(7), next: [next].into() });
    let text = format!(
        r#"{{"op":"gap","teams":["t000"],"streams":["broadcast"],"from":"{}","to":"{}","reason":"retention"}}"#,
        mark(20),
        mark(29)
    );
    let gap = text_frame(text.as_bytes()).to_vec();
    assert_eq!(judged(&ours, &[gap]), (9, 0), "right after `subscribed`, as the server sends it");
    let resume = ours.resume.clone().map(|resume| crate::dialogue::Resume {
        incomplete: Some(r#""recovered":false"#.into()),
        ..resume
    });
    assert_eq!(judged(&Dialogue { resume, ..ours }, &[]), (9, 0), "another product");
}

#[test]
fn what_a_closed_client_misses_is_told_by_a_close_and_by_nothing_else() {
    let plan = |events| {
        let phases = vec![Stretch::even("x", f64::from(events), 1.0, 1)];
        Schedule { start_ns: 0, teams: 1, pad: 0, phases }.plan()
    };
    let missed = |phase, code, reading| {
        let (mut conn, mut counts) = (live().0, Counts::default());
        (conn.phase, conn.code, conn.client.reading) = (phase, code, reading);
        conn.count_missing(&plan(9), false, &mut counts);
        [counts.lost, counts.cut_off, counts.cut_off_untold, counts.prompt_missed]
    };
    assert_eq!(missed(Phase::Live, 0, Reading::Prompt), [9, 0, 0, 9]);
    assert_eq!(missed(Phase::Gone, 4008, Reading::Prompt), [0, 9, 0, 9]);
    assert_eq!(missed(Phase::Gone, 1006, Reading::Prompt), [0, 9, 9, 9]);
    assert_eq!(missed(Phase::Gone, 4008, Reading::Slow), [0, 9, 0, 0]);
    assert_eq!(missed(Phase::Gone, 4008, Reading::Never), [0; 4]);
}

#[test]
fn a_stream_cut_anywhere_is_put_together_again() {
    let stream: Vec<u8> = (0..3).flat_map(event).collect();
    for cut in 0..=stream.len() {
        let (mut conn, mut tally) = live();
        take(&mut conn, &Dialogue::touchline(&[Stream::Broadcast]), &mut tally, &stream[..cut], 9)
            .unwrap();
        let mut rest = std::mem::take(&mut conn.rest);
        rest.extend_from_slice(&stream[cut..]);
        take(&mut conn, &Dialogue::touchline(&[Stream::Broadcast]), &mut tally, &rest, 9).unwrap();
        let counts = &tally.counts;
        assert_eq!((counts.delivered, counts.lost, counts.repeated), (3, 0, 0), "cut {cut}");
    }
}

#[test]
fn a_frame_of_many_events_is_taken_as_it_comes() {
    let events: Vec<String> = (0..4_000)
        .map(|seq| format!(r#"{{"d":{}}}"#, Stamp { t: 1, seq, n: seq }.data(0)))
        .collect();
    let large = text_frame(events.join("\n").as_bytes()).to_vec();
    assert!(large.len() > 2 * WAITED_FOR_BYTES_MAX);
    let stream = [large, event(4_000)].concat();
    for step in [1_000, 1_777, 70_001, stream.len()] {
        let (mut conn, mut tally) = live();
        let dialogue = Dialogue { joins: true, ..Dialogue::touchline(&[Stream::Broadcast]) };
        for piece in stream.chunks(step) {
            let bytes = [&conn.rest[..], piece].concat();
            take(&mut conn, &dialogue, &mut tally, &bytes, 9).unwrap();
            assert!(conn.rest.len() < 2 * WAITED_FOR_BYTES_MAX);
        }
        let counts = &tally.counts;
        let seen = (counts.delivered, counts.lost, counts.repeated, conn.rest.len());
        assert_eq!(seen, (4_001, 0, 0, 0), "in steps of {step}");
        assert_eq!(counts.bytes, stream.len() as u64, "each byte once");
    }
}

#[test]
fn a_close_frame_tells_its_code() {
    let (mut conn, mut tally) = live();
    let close = [0x88, 2, 0x0f, 0xa8];
    assert_eq!(
        take(&mut conn, &Dialogue::touchline(&[Stream::Broadcast]), &mut tally, &close, 9),
        Err(Ended::Closed(4008))
    );
}

#[test]
fn the_mark_of_the_subscription_is_kept() {
    let (mut conn, mut tally) = live();
    conn.phase = Phase::Subscribing;
    let told = text_frame(br#"{"op":"subscribed","id":1,"teams":["t000"],"mark":"abc"}"#);
    take(&mut conn, &Dialogue::touchline(&[Stream::Broadcast]), &mut tally, &told, 9).unwrap();
    assert_eq!(conn.phase, Phase::Subscribed);
    let request = conn.request(&Dialogue::touchline(&[Stream::Broadcast]), "h");
    assert!(String::from_utf8(request).unwrap().contains("&mark=abc HTTP"));
}

#[test]
fn only_a_101_that_accepts_our_key_is_an_upgrade() {
    let answer = |head: &str| {
        let (mut conn, mut tally) = live();
        conn.phase = Phase::Shaking;
        let dialogue = Dialogue::touchline(&[Stream::Broadcast]);
        take(&mut conn, &dialogue, &mut tally, head.as_bytes(), 9)
    };
    let switching = "HTTP/1.1 101 Switching Protocols\r\n";
    let right = format!("{switching}sec-websocket-ACCEPT:  {KEY_ACCEPTED} \r\n\r\n");
    assert_eq!(answer(&right), Ok(()));
    let wrong = format!("{switching}Sec-WebSocket-Accept: AAAA\r\n\r\n");
    assert_eq!(answer(&wrong), Err(Ended::WrongAccept));
    assert_eq!(answer(&format!("{switching}\r\n")), Err(Ended::WrongAccept), "none");
    let declined = answer("HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err();
    assert!(declined.to_string().contains("404 Not Found"), "{declined}");
    let refused = Ended::Failed(io::ErrorKind::ConnectionRefused);
    assert!(refused.to_string().contains("nobody listens"), "{refused}");
}
