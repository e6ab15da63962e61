//! Streams are taken apart as they come, and what is wrong with them is counted.

use super::*;
use touchline_core::frame::text_frame;

fn live() -> (Conn, Tally) {
    let client = Client { team: 0, stalled: false };
    let (phase, rest) = (Phase::Live, Vec::new());
    let conn = Conn { fd: None, client, phase, said: 0, next_seq: 0, rest };
    let schedule = Schedule { start_ns: 0, teams: 1, pad: 0, phases: Vec::new() };
    (conn, Tally::new(&[Window { from_ns: 0, to_ns: 100 }], schedule.events()))
}

fn event(seq: u32) -> Vec<u8> {
    let data = Stamp { t: 1, seq, n: seq }.data(0);
    text_frame(format!(r#"{{"op":"event","data":{data}}}"#).as_bytes()).to_vec()
}

#[test]
fn loss_and_repetition_are_counted_for_each_socket() {
    let (mut conn, mut tally) = live();
    let stream: Vec<u8> = [0, 1, 1, 4, 3, 5].into_iter().flat_map(event).collect();
    take(&mut conn, &Dialogue::touchline(), &mut tally, &stream, -1).unwrap();
    let counts = &tally.counts;
    assert_eq!((counts.delivered, counts.lost, counts.repeated), (4, 2, 2));
}

#[test]
fn a_stream_cut_anywhere_is_put_together_again() {
    let stream: Vec<u8> = (0..3).flat_map(event).collect();
    for cut in 0..=stream.len() {
        let (mut conn, mut tally) = live();
        take(&mut conn, &Dialogue::touchline(), &mut tally, &stream[..cut], -1).unwrap();
        let mut rest = std::mem::take(&mut conn.rest);
        rest.extend_from_slice(&stream[cut..]);
        take(&mut conn, &Dialogue::touchline(), &mut tally, &rest, -1).unwrap();
        let counts = &tally.counts;
        assert_eq!((counts.delivered, counts.lost, counts.repeated), (3, 0, 0), "cut {cut}");
    }
}

#[test]
fn a_close_frame_tells_its_code() {
    let (mut conn, mut tally) = live();
    let close = [0x88, 2, 0x0f, 0xa8];
    assert_eq!(take(&mut conn, &Dialogue::touchline(), &mut tally, &close, -1), Err(4008));
}
