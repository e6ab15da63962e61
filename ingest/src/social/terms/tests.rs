//! Terms against texts, and both looks against each other.

use super::*;
use proptest::prelude::*;

fn terms() -> Terms {
    Terms::parse(&[
        "ars: Arsenal, gunners, #afc",
        "che: chelsea, #cfc, c/o blues",
        "bay: FC Bayern, münchen, ⚽",
        "ura: 浦和",
        "spa: спартак, ЗЕНИТ",
        "ars: the arsenal way",
    ])
    .unwrap()
}

fn route(text: &str) -> String {
    let (terms, mut teams) = (terms(), Vec::new());
    terms.teams(text, &mut Scratch::default(), &mut teams);
    terms.route(&teams).map_or_else(String::new, |route| route.to_string())
}

#[test]
fn a_term_counts_as_a_whole_word_whatever_its_case() {
    for (text, expected) in [
        ("ARSENAL win", "ars"),
        ("Arsenal's day, #CFC!", "ars+che"),
        ("what an arsenalist", ""),
        ("arsenal2 or _arsenal", ""),
        ("#arsenal and @Chelsea", "ars+che"),
        ("x#afc", ""),
        ("#afcb", ""),
        ("in MÜNCHEN", "bay"),
        ("fc\nbayern", "bay"),
        ("goal⚽goal", "bay"),
        ("今日浦和が", "ura"),
        ("c/o Blues", "che"),
        ("Спартак!", "spa"),
        ("зенит", "spa"),
        ("the arsenal way", "ars"),
        ("", ""),
    ] {
        assert_eq!(route(text), expected, "{text}");
    }
}

#[test]
fn a_post_that_names_every_team_gets_eight_of_them() {
    let lines: Vec<String> = (0..20).map(|n| format!("t{n:02}: word{n}")).collect();
    let (terms, mut teams) = (Terms::parse(&lines).unwrap(), Vec::new());
    let text: String = (0..20).rev().map(|n| format!("word{n} ")).collect();
    terms.teams(&text, &mut Scratch::default(), &mut teams);
    assert_eq!(terms.route(&teams).unwrap().as_str(), "t00+t01+t02+t03+t04+t05+t06+t07");
}

#[test]
fn a_look_at_the_json_sees_through_escapes_and_ends_most_posts() {
    let (terms, mut teams) = (terms(), Vec::new());
    let mut look = |json: &str| terms.look(json.as_bytes(), &mut Scratch::default(), &mut teams);
    assert_eq!(look(r#"{"text":"nothing of note \u2764\uFE0F"}"#), Look::Nothing);
    assert_eq!(look(r#"{"text":"\u0041rsenal"}"#), Look::Perhaps);
    assert_eq!(look(r#"{"text":"in M\u00dcNCHEN"}"#), Look::Perhaps);
    assert_eq!(look(r#"{"text":"\u6d66\u548c"}"#), Look::Perhaps);
    assert_eq!(look(r#"{"text":"c\/o blues"}"#), Look::Perhaps);
    assert_eq!(look(r#"{"text":"\\u0041rsenal"}"#), Look::Nothing, "an escaped backslash");
}

#[test]
fn lines_that_say_nothing_are_refused_by_name() {
    for (lines, says) in [
        (vec![], "1 to"),
        (vec!["ars"], "must be as in"),
        (vec!["Arsenal FC: arsenal"], "the team of"),
        (vec!["ars: ,"], "1 to"),
    ] {
        let error = Terms::parse(&lines).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

proptest! {
    /// Whatever a text concerns, the look at its JSON has seen, however it is escaped.
    #[test]
    fn no_term_escapes_the_first_look(
        before in "\\PC{0,6}", word in 0..11usize, after in "\\PC{0,6}", escapes in any::<u64>(),
    ) {
        let words = ["arsenal", "Gunners", "#AFC", "c/o blues", "fc\tbayern", "MÜNCHEN", "⚽",
            "浦和", "the Arsenal way", "СПАРТАК", "Зенит"];
        let text = format!("{before}{}{after}", words[word]);
        let terms = terms();
        let (mut exact, mut rough) = (Vec::new(), Vec::new());
        terms.teams(&text, &mut Scratch::default(), &mut exact);
        let json: String = text.chars().enumerate().map(|(n, c)| {
            let quoted = serde_json::to_string(&c.to_string()).unwrap();
            let plain = quoted[1..quoted.len() - 1].to_owned();
            if escapes >> (n % 64) & 1 == 0 {
                return plain;
            }
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        }).collect();
        let look = terms.look(json.as_bytes(), &mut Scratch::default(), &mut rough);
        let seen = |team: &u32| look == Look::Unsure || rough.contains(team);
        prop_assert!(exact.iter().all(seen), "{text} as {json}");
    }
}
