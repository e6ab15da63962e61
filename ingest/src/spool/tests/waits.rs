//! What the spool waits for holds it up no longer than it must, and loses nothing meanwhile.

use std::sync::mpsc::sync_channel;
use std::time::Instant;

use crate::spool::testing::{Mood, Reading, Stage, event, until};
use crate::spool::*;

/// The spool holds one old event, and the log its twin, which it has forgotten.
fn old_twin(stage: &Stage) -> Arc<SpooledLog> {
    let spooled = stage.open();
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.log.set(Mood::Away);
    stage.append(&spooled, &[event("1", "ars")]).unwrap();
    stage.pass(7_200);
    lock(&stage.log.inner).known.clear();
    spooled
}

#[test]
fn an_end_that_was_asked_for_earlier_is_not_taken_for_the_end_of_now() {
    let stage = Stage::new();
    let spooled = old_twin(&stage);
    // Another node wrote it: we have yet to read it, and a question is under way since before that.
    lock(&stage.log.inner).unseen = 1;
    stage.log.look(false);
    stage.log.set(Mood::Takes);
    std::thread::sleep(Duration::from_millis(200));
    stage.log.look(true);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((stage.log.ids(0).len(), spooled.stats().events), (1, 1), "it still waits");
    lock(&stage.log.inner).unseen = 0;
    until("drained", || {
        stage.log.look(false);
        stage.log.look(true);
        spooled.stats().events == 0
    });
    assert_eq!((stage.log.ids(0), spooled.stats().duplicates), (vec!["1".into()], 1));
}

#[test]
fn a_question_without_an_answer_holds_up_no_end() {
    for reading in [Reading::Well, Reading::Hangs] {
        let stage = Stage::new();
        let spooled = old_twin(&stage);
        match reading {
            // Where it ends is never known.
            Reading::Well => stage.log.look(false),
            reading => lock(&stage.log.inner).reading = reading,
        }
        stage.log.set(Mood::Takes);
        std::thread::sleep(Duration::from_millis(150));
        let begin = Instant::now();
        assert_eq!(spooled.close(), 1, "for the next start");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
}

#[test]
fn a_log_that_could_not_be_read_is_asked_again_soon() {
    let stage = Stage::new();
    let spooled = old_twin(&stage);
    lock(&stage.log.inner).reading = Reading::Fails(2);
    stage.log.set(Mood::Takes);
    let begin = Instant::now();
    until("drained", || spooled.stats().events == 0);
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    assert_eq!((stage.log.ids(0), spooled.stats().duplicates), (vec!["1".into()], 1));
}

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
