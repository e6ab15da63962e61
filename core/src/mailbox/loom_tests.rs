//! Interleavings of senders and a receiver. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p touchline-core --release mailbox`.

use loom::sync::{Arc, Condvar, Mutex};

use super::*;

/// A bell whose sleeper blocks on loom's own primitives, so that a lost wake is a deadlock that
/// loom reports.
#[derive(Clone)]
struct LoomBell(Arc<(Mutex<bool>, Condvar)>);

impl LoomBell {
    fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    fn wait(&self) {
        let mut rung = self.0.0.lock().unwrap();
        while !*rung {
            rung = self.0.1.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Bell for LoomBell {
    fn ring(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_one();
    }
}

/// All interleavings with at most four forced switches: a lost wake has needed that many, and more
/// take hours.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(model);
}

fn receive_all(
    doorbell: &Doorbell,
    bell: &LoomBell,
    receivers: &mut [Receiver<u32>],
    count: usize,
) -> Vec<u32> {
    let mut got = Vec::new();
    while got.len() < count {
        for receiver in receivers.iter_mut() {
            while let Some(value) = receiver.try_recv() {
                got.push(value);
            }
        }
        doorbell.doze();
        if got.len() < count && receivers.iter_mut().all(Receiver::is_empty) {
            bell.wait();
        }
        doorbell.rise();
    }
    got
}

#[test]
fn no_wake_is_lost_and_no_value_is_reordered() {
    explore(|| {
        let bell = LoomBell::new();
        let doorbell = Arc::new(Doorbell::new(bell.clone()));
        let (mut sender, receiver) = channel(2, Arc::clone(&doorbell));
        let thread = loom::thread::spawn(move || {
            for n in 0..2 {
                sender.try_send(n).unwrap();
            }
        });
        assert_eq!(receive_all(&doorbell, &bell, &mut [receiver], 2), [0, 1]);
        thread.join().unwrap();
    });
}

#[test]
fn two_mailboxes_share_one_bell() {
    explore(|| {
        let bell = LoomBell::new();
        let doorbell = Arc::new(Doorbell::new(bell.clone()));
        let (mut left, left_out) = channel(1, Arc::clone(&doorbell));
        let (mut right, right_out) = channel(1, Arc::clone(&doorbell));
        let first = loom::thread::spawn(move || left.try_send(1).unwrap());
        let second = loom::thread::spawn(move || right.try_send(2).unwrap());
        let mut got = receive_all(&doorbell, &bell, &mut [left_out, right_out], 2);
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
        first.join().unwrap();
        second.join().unwrap();
    });
}

#[test]
fn a_refusal_is_always_seen() {
    explore(|| {
        let bell = LoomBell::new();
        let doorbell = Arc::new(Doorbell::new(bell.clone()));
        let (mut sender, mut receiver) = channel(1, Arc::clone(&doorbell));
        let thread =
            loom::thread::spawn(move || (0..2).filter(|n| sender.try_send(*n).is_err()).count());
        let mut got = 0;
        let mut refused = usize::from(receiver.take_overflowed());
        while got + refused < 2 {
            while receiver.try_recv().is_some() {
                got += 1;
            }
            refused += usize::from(receiver.take_overflowed());
            doorbell.doze();
            if got + refused < 2 && receiver.is_empty() && !receiver.has_overflowed() {
                bell.wait();
            }
            doorbell.rise();
        }
        assert_eq!(thread.join().unwrap(), refused);
    });
}
