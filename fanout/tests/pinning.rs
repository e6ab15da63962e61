//! Claim: a shard runs on the core that its plan names, or says that it doesn't.

mod common;

use common::{Stage, eventually, member, options};
use touchline_fanout::Backend;
use touchline_fanout::Life;

/// By the name of a thread of this process: the cores it may run on, as the kernel lists them.
fn cores_of(thread: &str) -> Vec<String> {
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = tasks.filter(|task| read(task.path().join("comm")).trim() == thread);
    let list = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap_or_default().trim().to_owned()
    };
    named.map(|task| list(read(task.path().join("status")))).collect()
}

/// One test, since threads are found by name: shards of another would be found as well.
#[test]
fn each_shard_is_pinned_to_its_core_or_counts_that_it_is_not() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let cores: Vec<usize> = (0..1_024).filter(|core| allowed.is_set(*core)).collect();
    if cores.len() < 2 {
        return eprintln!("not run: this host has one core, on which every thread is");
    }
    let mut it = options(Backend::Auto);
    it.plan.cores = vec![Some(cores[1]), Some(cores[0]), None];
    let stage = Stage::start(it);
    let all = cores_of(&format!("shard-{}", 2)).remove(0);
    for (shard, core) in [(0, cores[1]), (1, cores[0])] {
        let pinned = cores_of(&format!("shard-{shard}"));
        assert_eq!(pinned, [core.to_string()], "shard {shard}; an unpinned one may use {all}");
    }
    assert_ne!(all, cores[0].to_string(), "without a core in the plan it runs anywhere");
    assert_eq!(stage.sum(|stats| stats.pin_failures.get()), 0);
    stage.stop();

    // A core that no host has: it was there when the plan was made.
    let mut it = options(Backend::Auto);
    it.plan.cores = vec![Some(1_000)];
    let stage = Stage::start(it);
    let mut client = stage.follow("teams=ars");
    stage.publish("ars", "e1");
    assert_eq!(member(&client.text(), "id"), "e1", "it serves all the same");
    eventually("counted", || stage.fanout().stats()[0].pin_failures.get() == 1);
    assert_eq!(stage.fanout().stats()[0].life(), Life::Running);
    stage.stop();
}
