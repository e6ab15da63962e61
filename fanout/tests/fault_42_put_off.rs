//! A host that has no memory for sends: they are tried again at a bearable pace, and not for ever
//! (FAULTS 42).

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::{Stage, eventually, member, on_both_backends};

const MS: Duration = Duration::from_millis(1);

#[test]
fn fault_42_sends_that_are_put_off_are_tried_again_without_spinning() {
    on_both_backends(|options| {
        let no_buffers = options.faults.no_buffers.clone();
        let stage = Stage::start(options);
        let mut clients: Vec<_> = (0..10).map(|_| stage.follow("teams=ars")).collect();
        no_buffers.store(true, Relaxed);
        stage.publish("ars", "e1");
        std::thread::sleep(1_000 * MS);
        let retried = stage.sum(|stats| stats.sends_retried.get());
        assert!((20..=100).contains(&retried), "10 sends, tried {retried} times in a second");
        no_buffers.store(false, Relaxed);
        clients.iter_mut().for_each(|client| assert_eq!(member(&client.text(), "id"), "e1"));
        stage.publish("ars", "e2");
        clients.iter_mut().for_each(|client| assert_eq!(member(&client.text(), "id"), "e2"));
        stage.stop();
    });
}

#[test]
fn fault_42_a_session_that_nothing_can_be_sent_to_is_ended_in_time() {
    on_both_backends(|mut options| {
        options.rules.hub.stall_max = 1_000 * MS;
        let no_buffers = options.faults.no_buffers.clone();
        let stage = Stage::start(options);
        let _client = stage.follow("teams=ars");
        no_buffers.store(true, Relaxed);
        stage.publish("ars", "e1");
        std::thread::sleep(500 * MS);
        assert_eq!(stage.sum(|stats| stats.slow_closed.get()), 0, "not before its time");
        eventually("stalled", || stage.sum(|stats| stats.slow_closed.get()) == 1);
        stage.stop();
    });
}
