//! What the spool waits for holds it up no longer than it must, and loses nothing meanwhile.

use std::sync::mpsc::sync_channel;

use crate::spool::testing::{Mood, Stage, event, until};
use crate::spool::*;

#[test]
fn what_the_spools_disk_takes_long_for_is_handed_on_all_the_same() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.disk.set(Mood::Stalls);
    let (tell, told) = sync_channel(1);
    let reply = Box::new(move |answer| drop(tell.try_send(answer)));
    spooled.append(vec![event("1", "ars")], stage.now(), reply);
    stage.log.set(Mood::Takes);
    // Longer than the books go on with what can't be read.
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(spooled.stats().events, 1);
    stage.disk.set(Mood::Takes);
    assert_eq!(told.recv().unwrap(), Ok(vec![Outcome::Spooled]));
    until("drained", || stage.log.ids(0) == ["1"]);
    assert_eq!(spooled.stats().events, 0);
}

#[test]
fn what_the_spools_disk_has_lost_keeps_nobody_waiting() {
    let stage = Stage::new();
    let spooled = stage.open();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    lock(&stage.disk.inner).records[0].clear();
    stage.log.set(Mood::Takes);
    until("forgotten", || spooled.stats().events == 0);
    let outcomes = stage.append(&spooled, &[event("2", "ars")]).unwrap();
    assert!(matches!(outcomes[..], [Outcome::Accepted(_)]), "straight through again");
}
