use super::*;
use crate::schedule::{Phase as Stretch, Schedule, Window};
use touchline_core::frame::text_frame;

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

#[test]
fn a_hole_that_was_told_is_declared_and_the_next_one_is_not() {
    let (mut conn, mut tally) = live();
    let gap = text_frame(br#"{"op":"gap","topic":"broadcast:t000","reason":"slow"}"#).to_vec();
    let stream = [event(0), gap, event(3), event(9)].concat();
    take(&mut conn, &Dialogue::touchline(&[Stream::Broadcast]), &mut tally, &stream, 9).unwrap();
    let counts = &tally.counts;
    assert_eq!((counts.declared, counts.lost, counts.gaps), (2, 5, 1));
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
        Err(4008)
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
