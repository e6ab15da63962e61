//! Who is served when, and out of whose buffer.

use std::collections::{HashMap, HashSet};

use super::*;

/// Bytes by stream of what one parcel carries, in the order in which streams come.
fn by_stream(bytes: &[u8]) -> Vec<(String, usize)> {
    let mut streams: Vec<(String, usize)> = Vec::new();
    for text in frames(bytes) {
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let topic = json["topic"].as_str().unwrap().to_owned();
        let stream = topic.split(':').next().unwrap().to_owned();
        match streams.last_mut() {
            Some((last, bytes)) if *last == stream => *bytes += text.len(),
            _ => streams.push((stream, text.len())),
        }
    }
    streams
}

#[test]
fn nobody_is_always_last_nor_always_first() {
    // 7,919 divided evenly what the start once moved by.
    for followers in [2, 3, 10, 256, 7_919] {
        let mut it = Fixture::new();
        for _ in 0..followers {
            it.follower(&["ars"], None);
        }
        while it.hub.has_work() {
            it.volley(1 << 20);
        }
        let batches = 40usize;
        let mut first = HashMap::<u32, usize>::new();
        let mut last = HashMap::<u32, usize>::new();
        for _ in 0..batches {
            it.publish(&["broadcast:ars"]);
            let mut served = Vec::new();
            while it.hub.has_work() {
                it.hub.poll_volley(&mut it.volley, 256, NOW);
                served.extend(it.volley.parcels().iter().map(|parcel| parcel.session.index));
            }
            assert_eq!(served.len(), followers);
            *first.entry(served[0]).or_default() += 1;
            *last.entry(served[followers - 1]).or_default() += 1;
        }
        let fair = batches.div_ceil(followers) + 3;
        for (which, counts) in [("first", first), ("last", last)] {
            let most = counts.values().max().unwrap();
            assert!(*most <= fair, "of {followers}, one was {which} {most} of {batches} times");
        }
    }
}

#[test]
fn sessions_at_one_cursor_are_sent_one_buffer() {
    let mut it = Fixture::new();
    let ids: Vec<SessionId> = (0..50).map(|_| it.follower(&["ars"], None)).collect();
    ids.iter().for_each(|id| drop(it.drain(*id)));
    // Every fifth has the first event already: it stands elsewhere, between the others.
    it.publish(&["broadcast:ars"]);
    it.hub.poll_volley(&mut it.volley, 256, NOW);
    let is_ahead = |id: SessionId| id.index.is_multiple_of(5);
    for parcel in it.volley.parcels().iter().filter(|parcel| !is_ahead(parcel.session)) {
        it.hub.settle(&it.volley, parcel, 0);
    }
    it.publish(&["broadcast:ars"; 3]);
    it.hub.poll_volley(&mut it.volley, 256, NOW);
    for parcel in it.volley.parcels() {
        it.hub.settle(&it.volley, parcel, 0);
    }
    ids.iter().for_each(|id| it.hub.handle_writable(*id));
    let mut buffers = HashMap::<usize, Vec<SessionId>>::new();
    while it.hub.has_work() {
        // Several rounds: the buffer outlives each.
        it.hub.poll_volley(&mut it.volley, 7, NOW);
        for parcel in it.volley.parcels() {
            let bytes = it.volley.bytes(parcel);
            assert_eq!(frames(bytes).len(), if is_ahead(parcel.session) { 3 } else { 4 });
            buffers.entry(bytes.as_ptr() as usize).or_default().push(parcel.session);
        }
    }
    let mut shares: Vec<usize> = buffers.values().map(Vec::len).collect();
    shares.sort_unstable();
    assert_eq!(shares, [10, 40], "merged once for each place");
    assert_eq!(it.hub.sizes().ranges, 2);
}

#[test]
fn streams_go_by_priority_and_each_keeps_an_eighth() {
    const VISIT: usize = 8_000;
    let config = HubConfig { visit_bytes_max: VISIT, ..HubConfig::default() };
    let mut it = Fixture::with(config);
    let id = it.follower(&["ars"], None);
    it.drain(id);
    for stream in ["sensor", "social", "update", "broadcast"] {
        it.publish(&[&*format!("{stream}:ars"); 100]);
    }
    for visit in 0..12 {
        let got = it.volley(1 << 20);
        let streams = by_stream(&got[0].1);
        let names: Vec<&str> = streams.iter().map(|(stream, _)| &**stream).collect();
        assert_eq!(names, ["broadcast", "update", "social", "sensor"], "visit {visit}");
        let frame = got[0].1.len() / frames(&got[0].1).len() + 20;
        for (stream, bytes) in &streams {
            assert!(bytes + frame >= VISIT / 8, "{stream} was given {bytes} in visit {visit}");
        }
        assert!(streams[0].1 + frame >= VISIT * 5 / 8, "what nobody else keeps: {streams:?}");
        assert!(got[0].1.len() <= VISIT + frame, "{}", got[0].1.len());
        // However much of the first comes, the others go on.
        it.publish(&["broadcast:ars"; 40]);
    }
}

#[test]
fn a_lone_event_waits_for_no_backlog() {
    let config = HubConfig { visit_bytes_max: 1_000, ..HubConfig::default() };
    let mut it = Fixture::with(config);
    let hot: Vec<SessionId> = (0..100).map(|_| it.follower(&["ars"], None)).collect();
    let quiet = it.follower(&["che"], None);
    while it.hub.has_work() {
        it.volley(1 << 20);
    }
    it.publish(&["broadcast:ars"; 100]);
    let sends_max = 10;
    for round in 0..20 {
        it.publish(&["broadcast:che"]);
        let mut served = HashSet::new();
        for volleys in 1.. {
            it.publish(&["broadcast:ars"; 2]);
            it.hub.poll_volley(&mut it.volley, sends_max, NOW);
            served.extend(it.volley.parcels().iter().map(|parcel| parcel.session));
            if served.contains(&quiet) {
                break;
            }
            assert!(volleys < 102usize.div_ceil(sends_max), "round {round}: {volleys} volleys");
        }
    }
    // Nor did anybody of the crowd starve: each is as far as the next, give or take a turn.
    let unsent: Vec<u64> = hot.iter().map(|id| it.hub.unsent_bytes(*id)).collect();
    let (least, most) = (unsent.iter().min().unwrap(), unsent.iter().max().unwrap());
    assert!(*least > 0 && most - least <= 3 * 1_000, "{least} to {most} bytes behind");
}
