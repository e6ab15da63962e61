//! What is told to whom when bounds are passed, and what is not.

use super::*;

fn queue_of(bytes: usize) -> HubConfig {
    let mut config = HubConfig::default();
    config.streams.iter_mut().for_each(|stream| stream.queue_bytes_max = bytes);
    config
}

#[test]
fn a_gap_is_told_only_where_something_is_lost() {
    let mut it = Fixture::with(queue_of(300));
    let id = it.follower(&["ars", "che"], None);
    it.drain(id);
    it.publish(&["social:ars"]);
    it.volley(0);
    it.publish(&["social:ars"; 2]);
    it.hub.handle_stall(id, NOW);
    assert_eq!(it.hub.stats().gaps, [1, 0, 0, 0], "all three: not one fits into half");
    it.hub.set_config(queue_of(1_200));
    it.publish(&["social:che"; 7]);
    it.publish(&["social:ars"]);
    it.hub.handle_stall(id, NOW);
    assert_eq!(it.hub.stats().gaps, [2, 0, 0, 0], "of `ars` there is the newest, and it is kept");
    it.hub.handle_writable(id);
    assert_eq!(ids(&it.drain(id)), ["gap", "gap", "e9", "e10"]);
}

#[test]
fn who_comes_back_over_a_slow_line_is_not_closed_for_what_it_brought() {
    let mut it = Fixture::with(queue_of(300));
    it.publish(&["broadcast:ars"; 9]);
    let id = it.follower(&["ars"], resume(0, &[]));
    let mut bytes = Vec::new();
    for _ in 0..40 {
        // All of it fits into one visit; the socket takes a part.
        bytes.extend(it.volley(80).into_iter().flat_map(|(_, taken)| taken));
        it.hub.handle_stall(id, NOW);
        assert_eq!(it.hub.poll_close(), None, "after {} bytes", bytes.len());
        it.hub.handle_writable(id);
    }
    assert_eq!(ids(&frames(&bytes)).len(), 1 + 9);
    // Now it is like anybody else.
    it.publish(&["broadcast:ars"; 3]);
    it.volley(0);
    it.hub.handle_stall(id, NOW);
    assert_eq!(it.hub.poll_close(), Some((id, CloseCause::Slow)));
}
