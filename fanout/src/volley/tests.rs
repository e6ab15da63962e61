//! Both launchers do the same to real sockets.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;

fn launchers() -> Vec<Launcher> {
    vec![Launcher::ring().expect("this host has io_uring"), Launcher::Plain]
}

fn fire(launcher: &mut Launcher, sockets: &[&UnixStream], bytes: &[u8]) -> Vec<Miss> {
    let shots: Vec<_> =
        sockets.iter().map(|socket| Shot { socket: socket.as_fd(), bytes }).collect();
    let mut misses = Vec::new();
    assert!(!launcher.fire(&shots, &mut misses));
    misses.sort_by_key(|miss| miss.shot);
    misses
}

fn drain(mut socket: &UnixStream) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    let _ = socket.read_to_end(&mut all);
    all.len()
}

#[test]
fn what_goes_out_whole_is_not_reported() {
    for mut launcher in launchers() {
        let pairs: Vec<_> = (0..300).map(|_| UnixStream::pair().unwrap()).collect();
        let sockets: Vec<_> = pairs.iter().map(|(near, _)| near).collect();
        assert_eq!(fire(&mut launcher, &sockets, b"goal"), []);
        assert!(pairs.iter().all(|(_, far)| drain(far) == 4), "each got it once");
    }
}

#[test]
fn a_full_socket_says_how_much_it_took_and_a_dead_one_that_it_is_dead() {
    for mut launcher in launchers() {
        let [full, dead, fine] = [(), (), ()].map(|()| UnixStream::pair().unwrap());
        drop(dead.1);
        let sockets = [&full.0, &dead.0, &fine.0];
        let large = vec![b'x'; 1 << 20];
        let misses = fire(&mut launcher, &sockets[..1], &large);
        let [Miss { shot: 0, outcome: Outcome::Sent(sent) }] = misses[..] else {
            panic!("{misses:?}")
        };
        assert!(sent > 0 && sent < large.len(), "a part: {sent}");
        let misses = fire(&mut launcher, &sockets, b"goal");
        let want = [
            Miss { shot: 0, outcome: Outcome::Sent(0) },
            Miss { shot: 1, outcome: Outcome::Dead(Errno::PIPE) },
        ];
        assert_eq!(misses, want);
        assert_eq!(drain(&full.1), sent, "exactly what was reported");
        assert_eq!(drain(&fine.1), 4);
        assert_eq!(fire(&mut launcher, &sockets[..1], b"goal"), [], "room again");
    }
}

/// FAULTS 42.
#[test]
fn fault_42_an_overflowing_completion_queue_costs_no_outcome() {
    let Launcher::Ring(mut ring) = Launcher::ring().unwrap() else { unreachable!() };
    ring.overflow();
    let mut launcher = Launcher::Ring(ring);
    let [fine, dead] = [(), ()].map(|()| UnixStream::pair().unwrap());
    drop(dead.1);
    let want = [Miss { shot: 0, outcome: Outcome::Dead(Errno::PIPE) }];
    assert_eq!(fire(&mut launcher, &[&dead.0, &fine.0], b"goal"), want);
    assert_eq!(drain(&fine.1), 4);
}

/// FAULTS 42.
#[test]
fn fault_42_a_ring_that_fails_is_replaced_and_nothing_is_lost() {
    let Launcher::Ring(mut ring) = Launcher::ring().unwrap() else { unreachable!() };
    ring.break_it();
    let mut launcher = Launcher::Ring(ring);
    let (near, far) = UnixStream::pair().unwrap();
    let shots = [Shot { socket: near.as_fd(), bytes: b"goal" }];
    let mut misses = Vec::new();
    assert!(launcher.fire(&shots, &mut misses), "it says so");
    assert!(!launcher.is_ring() && misses.is_empty());
    assert_eq!(drain(&far), 4);
}
