//! Reading from the log while it fails, while others come and go, and while publishing goes on.

use touchline_core::frame::Published;
use touchline_core::log::{Hole, HoleReason, ReadError};

use super::*;
use crate::limits::{HELD_BATCHES_MAX, HELD_BYTES_MAX};

/// Windows that hold nothing, so that a resume must go through the log.
fn forgetful() -> Fixture {
    Fixture::with(HubConfig { windows_bytes_max: 0, ..HubConfig::default() })
}

/// A log of goals of `ars`, and a shard that hears of them.
struct Press {
    it: Fixture,
    follower: SessionId,
    printed: Vec<Published>,
    read: Option<(u64, usize, usize)>,
    reads: usize,
    tick: usize,
}

impl Press {
    fn new() -> Self {
        let mut it = Fixture::new();
        let follower = it.follower(&["ars"], None);
        it.drain(follower);
        Self { it, follower, printed: Vec::new(), read: None, reads: 0, tick: 0 }
    }

    fn print(&mut self, count: usize) -> Batch {
        let from = self.printed.len() as u64;
        let next = from + count as u64;
        let events: Vec<Published> =
            (from..next).map(|seq| published("broadcast:ars", 0, seq)).collect();
        self.printed.extend_from_slice(&events);
        batch(from, next, events)
    }

    /// The mailbox had no room for `count` events.
    fn miss(&mut self, count: usize) {
        self.print(count);
        self.it.hub.handle_bounds(&bounds(0, self.printed.len() as u64));
    }

    fn publish(&mut self, count: usize) {
        let batch = self.print(count);
        self.it.hub.handle_batch(&batch, NOW);
    }

    /// A read takes two ticks, gives `events_max`, and ends where the log ended when it began.
    fn turn(&mut self, events_max: usize) {
        self.tick += 1;
        if let Some((from, next, due)) = self.read
            && due <= self.tick
        {
            self.read = None;
            let events = self.printed[from as usize..next].to_vec();
            let answer = batch(from, next as u64, events);
            self.it.hub.handle_read(Ok(Arc::new(answer)), NOW);
        }
        if let Some(request) = self.it.hub.poll_read(NOW) {
            let next = self.printed.len().min(request.from.seq as usize + events_max);
            self.reads += 1;
            self.read = Some((request.from.seq, next, self.tick + 2));
        }
    }

    fn everything_came_once(&mut self) {
        let got = ids(&self.it.drain(self.follower));
        let printed: Vec<String> = (0..self.printed.len()).map(|seq| format!("e{seq}")).collect();
        assert_eq!(got, printed);
    }
}

#[test]
fn a_shard_under_steady_load_is_live_after_a_bounded_number_of_reads() {
    for (missed, events_max, reads_max) in [(100, 1_000, 1), (100, 50, 2), (1_000, 100, 10)] {
        let mut press = Press::new();
        press.miss(missed);
        for _ in 0..200 {
            press.publish(10);
            press.turn(events_max);
        }
        assert!(press.it.hub.is_ready(), "{missed} missed, {events_max} a read");
        // One more may have been asked for before the last answer came.
        assert!(press.reads <= reads_max + 1, "{} reads of {events_max}", press.reads);
        assert_eq!(press.it.hub.sizes().held, (0, 0));
        press.everything_came_once();
    }
}

#[test]
fn what_is_held_past_a_gap_is_bounded_and_the_rest_is_read() {
    let mut press = Press::new();
    press.miss(10);
    let batches = HELD_BATCHES_MAX + 500;
    (0..batches).for_each(|_| press.publish(1));
    let (held, bytes) = press.it.hub.sizes().held;
    assert!(held == HELD_BATCHES_MAX && bytes <= HELD_BYTES_MAX, "{held} batches, {bytes} bytes");
    (0..40).for_each(|_| press.turn(100));
    assert!(press.it.hub.is_ready());
    assert!(press.reads <= 510 / 100 + 2, "{} reads: the newest were held", press.reads);
    press.everything_came_once();
}

#[test]
fn who_left_is_waited_for_no_more() {
    let mut it = forgetful();
    it.publish(&["broadcast:ars", "broadcast:che"]);
    it.publish(&["broadcast:bra"]);
    let stays = it.follower(&["ars"], resume(0, &[]));
    it.drain(stays);
    assert!(it.hub.poll_read(NOW).is_some());
    let mut now = NOW;
    for number in 0..100 {
        let id = it.follower(&["ars"], resume(0, &[]));
        it.drain(id);
        assert_eq!(it.hub.stats().catching_up, 2);
        match number % 2 {
            0 => it.hub.close(id),
            _ => it.hub.begin_close(id, Bytes::from_static(b"\x88\x00")),
        }
        assert_eq!(it.hub.stats().catching_up, 1);
        it.drain(id);
        it.hub.close(id);
        it.hub.handle_read(Err(ReadError::Busy), now);
        now = now + std::time::Duration::from_secs(7);
        // Whoever waits too long is sent away: this one is given something in between.
        it.hub.go_on(stays.index);
        it.hub.wait(stays.index, now);
        assert!(it.hub.poll_read(now).is_some(), "tried again");
    }
    assert_eq!(it.hub.stats().reads_failed, 100);
    it.hub.close(stays);
    assert_eq!((it.hub.stats().catching_up, it.hub.sizes().waiting), (0, 0));
}

#[test]
fn who_waits_longest_for_the_log_is_served_under_a_stream_of_lower_positions() {
    let mut it = forgetful();
    (0..50).for_each(|_| it.publish(&["broadcast:ars"; 10]));
    it.publish(&["broadcast:bra"]);
    let high = it.follower(&["ars"], resume(400, &[]));
    it.drain(high);
    for reads in 1.. {
        let low = it.follower(&["ars"], resume(7 * reads % 300, &[]));
        it.drain(low);
        let from = it.hub.poll_read(NOW).unwrap().from.seq;
        let events = (from..from + 5).map(|seq| published("broadcast:ars", 0, seq)).collect();
        it.hub.handle_read(Ok(Arc::new(batch(from, from + 5, events))), NOW);
        if !it.drain(high).is_empty() {
            break;
        }
        assert!(reads < 4, "it has waited for {reads} reads");
    }
}

#[test]
fn newcomers_of_a_rereading_shard_go_on_once_it_is_live() {
    let mut press = Press::new();
    press.miss(100);
    let newcomers: Vec<SessionId> = (0..20)
        .map(|_| {
            let id = press.it.hub.open(NOW);
            let teams = vec![Team::new("ars").unwrap()];
            let subscribe = Subscribe { teams, streams: StreamSet::ALL, ..Subscribe::default() };
            let end = bounds(0, press.printed.len() as u64);
            let message = ClientMessage::Subscribe(subscribe);
            press.it.hub.handle_message(id, message, &end, NOW).unwrap();
            id
        })
        .collect();
    while press.it.hub.has_work() {
        press.it.volley(1 << 20);
    }
    assert_eq!(press.it.hub.stats().catching_up, 20);
    (0..3).for_each(|_| press.turn(1_000));
    press.publish(1);
    assert_eq!(press.it.hub.stats().catching_up, 0);
    assert_eq!(ids(&press.it.drain(newcomers[7])), ["e100"], "from the log's end, not before");
}

#[test]
fn a_lane_that_the_log_has_emptied_gives_its_followers_a_gap_though_nothing_more_comes() {
    let mut press = Press::new();
    press.publish(3);
    press.it.drain(press.follower);
    // The log has gone on at 9, and holds nothing: no record comes that would show it.
    press.it.hub.handle_batch(&batch(9, 9, vec![]), NOW);
    let asked = press.it.hub.poll_read(NOW).expect("it looks for what it lacks");
    assert_eq!(asked.from.seq, 3);
    let hole = Hole { from: 3, to: 8, reason: HoleReason::Retention };
    let answer = Batch { holes: vec![(Lane(0), hole)], ..batch(3, 9, vec![]) };
    press.it.hub.handle_read(Ok(Arc::new(answer)), NOW);
    let told = press.it.drain(press.follower);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(r#""op":"gap""#) && told[0].contains(r#""retention""#), "{told:?}");
    assert!(press.it.hub.is_ready() && press.it.hub.poll_read(NOW).is_none());
    assert_eq!(press.it.hub.sizes().held, (0, 0), "the batch of nothing is not kept");
}
