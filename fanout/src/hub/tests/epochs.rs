//! A new life of the log, for those who are connected (R8).

use std::collections::HashMap;

use touchline_core::log::{LaneBounds, token};

use super::*;

const NEXT_LIFE: Epoch = Epoch(8);
const PING: Bytes = Bytes::from_static(b"\x89\x00");

/// The log begins anew at `seq`.
fn begin(it: &mut Fixture, seq: u64) {
    let lanes = [LaneBounds::whole(seq, seq)].into();
    it.hub.handle_bounds(&LogBounds { epoch: NEXT_LIFE, lanes });
    it.next = seq;
}

fn gap(text: &str) -> (Mark, Mark) {
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!((&json["op"], &json["reason"]), (&"gap".into(), &"epoch".into()), "{text}");
    let [from, to] = ["from", "to"].map(|name| json[name].as_str().unwrap());
    (token::decode_mark(from).unwrap(), token::decode_mark(to).unwrap())
}

#[test]
fn everybody_is_told_from_where_he_stands_and_goes_on_live() {
    for begins_at in [0, 1, 1_000] {
        let config = HubConfig { windows_bytes_max: 0, ..HubConfig::default() };
        let mut it = Fixture::with(config);
        it.publish(&["broadcast:che"]);
        it.publish(&["broadcast:ars"]);
        let from_log = it.follower(&["che", "ars"], resume(0, &[]));
        assert_eq!(ids(&it.drain(from_log)), ["subscribed"]);
        assert!(it.hub.poll_read(NOW).is_some(), "it waits for the log");
        let caught_up = it.follower(&["ars"], None);
        it.drain(caught_up);
        let idle = it.hub.open(NOW);
        let [behind, half_sent] = [(); 2].map(|()| it.follower(&["ars"], None));
        it.drain(behind);
        it.publish(&["broadcast:che"; 3]);
        it.publish(&["broadcast:ars"]);
        let mut got = HashMap::<SessionId, Vec<u8>>::new();
        it.hub.poll_volley(&mut it.volley, 256, NOW);
        for parcel in it.volley.parcels() {
            if parcel.session == behind {
                it.hub.settle(&it.volley, parcel, 0);
            } else if parcel.session == half_sent {
                got.insert(half_sent, it.volley.bytes(parcel)[..100].to_vec());
                it.hub.settle(&it.volley, parcel, 100);
            }
        }
        begin(&mut it, begins_at);

        let to = Mark { epoch: NEXT_LIFE, next: [begins_at].into() };
        assert_eq!(it.hub.progress(), to);
        // Each: where it stood, and how many of the old life it is still sent.
        let cases = [(from_log, 0, 0), (caught_up, 6, 0), (behind, 5, 0), (half_sent, 5, 1)];
        cases.iter().for_each(|(id, ..)| it.hub.handle_writable(*id));
        while it.hub.has_work() {
            for (id, bytes) in it.volley(1 << 20) {
                got.entry(id).or_default().extend(bytes);
            }
        }
        for (id, stood_at, of_old) in cases {
            let texts = frames(&got.remove(&id).unwrap());
            assert_eq!(texts.len(), of_old + 1, "{id:?}: {texts:?}");
            assert_eq!(gap(&texts[of_old]), (mark(stood_at), to.clone()), "{id:?}");
        }
        assert!(got.is_empty(), "who follows nothing, as {idle:?}, misses nothing");
        it.publish(&["broadcast:ars"]);
        let mut live: Vec<u32> = Vec::new();
        while it.hub.has_work() {
            live.extend(it.volley(1 << 20).iter().map(|(id, _)| id.index));
        }
        live.sort_unstable();
        let mut all = cases.map(|(id, ..)| id.index);
        all.sort_unstable();
        assert_eq!(live, all, "each once");
        let sizes = it.hub.sizes();
        assert_eq!((sizes.waiting, sizes.cursors, sizes.cursor_holds, sizes.topics), (0, 0, 0, 1));
    }
}

#[test]
fn a_half_sent_frame_of_an_old_life_sinks_no_mark() {
    let mut it = Fixture::new();
    let id = it.follower(&["ars"], None);
    it.drain(id);
    it.publish(&["broadcast:ars"]);
    it.volley(100);
    begin(&mut it, 1_000);
    it.hub.handle_heartbeat(id, &PING);
    assert_eq!(it.hub.mark_of(id.index).next[..], [1_000]);
    it.hub.handle_writable(id);
    it.hub.poll_volley(&mut it.volley, 256, NOW);
    let parcel = it.volley.parcels()[0];
    let text = String::from_utf8_lossy(it.volley.bytes(&parcel)).into_owned();
    let marks = text.matches(r#""op":"mark""#).count();
    let to = token::encode_mark(&Mark { epoch: NEXT_LIFE, next: [1_000].into() });
    assert_eq!((marks, text.matches(&to).count()), (1, 2), "in the gap and in the mark: {text}");
    // Taken back in the middle, it is still of no place.
    it.hub.settle(&it.volley, &parcel, 10);
    assert_eq!(it.hub.mark_of(id.index).next[..], [1_000]);
}

#[test]
fn a_ping_that_is_due_is_not_lost_to_a_new_life() {
    let mut it = Fixture::new();
    let id = it.follower(&["ars"], None);
    it.drain(id);
    it.hub.handle_heartbeat(id, &PING);
    begin(&mut it, 3);
    let got = it.volley(1 << 20).remove(0).1;
    assert!(got.windows(2).any(|bytes| bytes == &PING[..]), "no pong would come");
}

#[test]
fn an_answer_of_the_old_life_is_not_taken_for_one_of_the_new() {
    let mut it = Fixture::new();
    let id = it.follower(&["ars"], None);
    it.drain(id);
    it.hub.handle_bounds(&bounds(0, 50));
    assert_eq!(it.hub.poll_read(NOW).unwrap().from.seq, 0);
    it.hub.handle_batch(&batch(60, 61, vec![published("broadcast:ars", 0, 60)]), NOW);
    begin(&mut it, 10);
    let old = (0..50).map(|seq| published("broadcast:ars", 0, seq)).collect();
    it.hub.handle_read(Ok(Arc::new(batch(0, 50, old))), NOW);
    assert!(it.hub.is_ready(), "all of the new life has been taken in");
    assert_eq!(it.hub.sizes().held, (0, 0));
    assert_eq!(it.hub.poll_read(NOW), None);
    it.publish(&["broadcast:ars"]);
    assert_eq!(ids(&it.drain(id)), ["gap", "e10"]);
}
