//! The arithmetic of what is wanted, and who is told what.

use super::*;
use crate::testing::{machine, need};

fn judged(wanted: &Wanted, value: &str, connections: u64, unit: Unit) -> Option<String> {
    let (machine, need) = (machine(), need(connections));
    let terms = Terms { machine: &machine, need: &need, unit, max: Some(8192) };
    let fields: Vec<String> = value.split(' ').map(str::to_owned).collect();
    wanted.judge(&fields, None, &terms).unwrap().map(|fields| fields.join(" "))
}

fn amount(text: &str) -> Amount {
    toml::from_str(text).unwrap()
}

#[test]
fn amounts_grow_with_connections_between_their_bounds() {
    let text = "base = 1000\nper_connection = 1.1\nfloor = 65536\nceiling = 1000000";
    let wanted = Wanted::AtLeast(amount(text));
    assert_eq!(judged(&wanted, "1024", 1_000, Unit::Count).as_deref(), Some("65536"));
    assert_eq!(judged(&wanted, "65536", 100_000, Unit::Count).as_deref(), Some("111000"));
    assert_eq!(judged(&wanted, "111000", 100_000, Unit::Count), None);
    assert_eq!(judged(&wanted, "1024", 5_000_000, Unit::Count).as_deref(), Some("1000000"));
    assert_eq!(judged(&wanted, "unlimited", 5_000_000, Unit::Count), None);
}

#[test]
fn pages_are_counted_from_bytes_and_capped_by_memory() {
    let wanted = Wanted::AtLeast(amount("per_connection = 8192\nmemory_share_max = 0.25"));
    assert_eq!(judged(&wanted, "1", 50_000, Unit::Pages).as_deref(), Some("100000"));
    // A quarter of 16 GiB, in pages.
    assert_eq!(judged(&wanted, "1", 10_000_000, Unit::Pages).as_deref(), Some("1048576"));
}

#[test]
fn a_place_may_cap_what_is_wanted_of_it() {
    let ring = Wanted::AtLeast(amount("of_max = 1.0\nceiling = 4096"));
    assert_eq!(judged(&ring, "1024", 1, Unit::Count).as_deref(), Some("4096"));
    let queues = Wanted::AtLeast(amount("per_core = 10000.0\nmax_caps = true"));
    assert_eq!(judged(&queues, "1", 1, Unit::Count).as_deref(), Some("8192"));
}

#[test]
fn fields_are_judged_alone_and_stay_in_order() {
    let most = Amount::fixed(131_072.0);
    let least = Amount::fixed(1_048_576.0);
    let wanted = Wanted::Fields(vec![Wanted::Any, Wanted::AtMost(most), Wanted::AtLeast(least)]);
    let better = |value| judged(&wanted, value, 1, Unit::Count);
    assert_eq!(better("4096 131072 6291456"), None);
    assert_eq!(better("4096 262144 6291456").as_deref(), Some("4096 131072 6291456"));
    assert_eq!(better("4096 131072 212992").as_deref(), Some("4096 131072 1048576"));
    let raised = Wanted::Fields(vec![Wanted::AtLeast(Amount::fixed(500.0)), Wanted::Any]);
    assert_eq!(judged(&raised, "4 8", 1, Unit::Count).as_deref(), Some("500 500"));
}

#[test]
fn words_and_numbers_are_told_apart() {
    let one = Wanted::OneOf(vec!["madvise".into(), "never".into()]);
    assert_eq!(judged(&one, "always", 1, Unit::Count).as_deref(), Some("madvise"));
    assert_eq!(judged(&one, "never", 1, Unit::Count), None);
    let (machine, need) = (machine(), need(1));
    let terms = Terms { machine: &machine, need: &need, unit: Unit::Count, max: None };
    let bound = Wanted::AtMost(Amount::fixed(3.0));
    assert_eq!(bound.judge(&["many".into()], None, &terms), Err(Unreadable));
    assert_eq!(bound.judge(&[], None, &terms), Err(Unreadable));
}

#[test]
fn rules_read_like_sentences() {
    let text = "base = 65536\nper_connection = 1.2";
    assert_eq!(
        Wanted::AtLeast(amount(text)).words(Unit::Count),
        "at least 65536 + 1.2 for each connection"
    );
    let text = "per_connection = 8192\nmemory_share_max = 0.25";
    assert_eq!(
        Wanted::AtLeast(amount(text)).words(Unit::Pages),
        "at least 8 KiB for each connection, no more than 25 % of memory"
    );
    assert_eq!(bytes_text(25_276_063_744), "23.5 GiB");
    assert_eq!((bytes_text(512), bytes_text(8 << 20)), ("512 B".into(), "8 MiB".into()));
}
