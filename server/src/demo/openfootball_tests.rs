//! A file of the format is read to the letter, and a wrong one is refused by file, match and field.

use super::*;

/// Both spellings of minutes, extra time and a shoot-out, an unplayed match, names that need slugs.
pub(crate) const SMALL: &str = include_str!("small.matches.json");

fn read(text: &str, date: &str) -> Result<Games, FileError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("small.json");
    std::fs::write(&file, text).unwrap();
    read_games(&file, date)
}

#[test]
fn both_spellings_of_a_minute_are_read() {
    let games = read(SMALL, "2031-05-04").unwrap();
    assert_eq!(games.competition, "Small Cup 2031");
    let goals = |n: usize| -> Vec<(u16, u16, Side, Option<String>)> {
        let goals = &games.games[n].result.as_ref().unwrap().goals;
        goals.iter().map(|g| (g.minute, g.stoppage, g.side, g.note.clone())).collect()
    };
    let note = |text: &str| Some(text.to_owned());
    let want = [(12, 0, Side::Home, None), (45, 2, Side::Home, note("penalty"))];
    assert_eq!(goals(0)[..2], want);
    assert_eq!(goals(0)[2], (90, 5, Side::Away, note("own_goal")));
    let want = [(45, 3, Side::Home, None), (118, 0, Side::Away, None)];
    assert_eq!(goals(1), want);
    let second = games.games[1].result.as_ref().unwrap();
    assert_eq!((second.extra_time, second.penalties), (true, Some((4, 3))));
    assert_eq!(games.games[2].result, None, "not played yet");
}

#[test]
fn minute_92_of_a_match_without_extra_time_is_90_and_2() {
    let games = read(&SMALL.replace("90, \"offset\": 5", "92"), "2031-05-04").unwrap();
    let goal = &games.games[0].result.as_ref().unwrap().goals[2];
    assert_eq!((goal.minute, goal.stoppage), (90, 2));
}

#[test]
fn kick_offs_are_told_in_utc_where_the_file_knows_it() {
    let times: Vec<Option<i32>> =
        read(SMALL, "2031-05-04").unwrap().games.iter().map(|game| game.kickoff_min).collect();
    assert_eq!(times, [Some(19 * 60), Some(13 * 60 + 30), None]);
    for (text, minutes) in [("23:00 UTC-2", Some(25 * 60)), ("15:00 UTC", Some(900))] {
        assert_eq!(kickoff(text), minutes, "{text}");
    }
    for bad in ["", "25:00", "15:61", "15:00 CET", "15:00 UTC*2", "noon"] {
        assert_eq!(kickoff(bad), None, "{bad}");
    }
}

#[test]
fn ids_come_from_the_team_file_or_from_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("small.json");
    std::fs::write(&file, SMALL).unwrap();
    let ids = |games: Games| games.games.into_iter().map(|g| g.home.id.to_string()).collect();
    let slugs: Vec<String> = ids(read_games(&file, "2031-05-04").unwrap());
    assert_eq!(slugs, ["aland", "cote-d-opale", "winner-m12"]);
    let teams = r#"[{"name":"Åland","fifa_code":"ALD"},{"name":"Other"}]"#;
    std::fs::write(dir.path().join("small.teams.json"), teams).unwrap();
    let coded: Vec<String> = ids(read_games(&file, "2031-05-04").unwrap());
    assert_eq!(coded, ["ald", "cote-d-opale", "winner-m12"]);
    assert_eq!(slug("  --  Österreich / USA  "), "osterreich-usa");
    assert_eq!(slug(&"long name ".repeat(9)).len(), 32);
}

#[test]
fn a_refusal_names_file_match_and_field() {
    let swap = |from: &str, to: &str| {
        assert!(SMALL.contains(from), "{from}");
        read(&SMALL.replace(from, to), "2031-05-04").unwrap_err().to_string()
    };
    let cases = [
        (swap("\"minute\": 12", "\"minute\": 121"), "`goals1[0].minute` must be 1 to 120"),
        (swap("\"minute\": 12", "\"minute\": \"12+3\""), "`goals1[0].minute` must be"),
        (swap("\"45+3\"", "\"soon\""), "not \"soon\""),
        (
            swap("\"ft\": [2, 1]", "\"ft\": [3, 1]"),
            "`score` says 3-1, but goals1 and goals2 list 2",
        ),
        (swap("\"ft\": [2, 1]", "\"ft\": 2"), "`score.ft` must be a pair"),
        (swap("\"15:00 UTC-4\"", "\"3 pm\""), "`time` must look like 15:00"),
        (swap("\"Åland\"", "7"), "`team1` must be a team's name"),
        (swap("\"Åland\"", "\"中国\""), "makes no team id"),
        (swap("\"name\": \"Ylva Sund\", ", ""), "`goals1[0].name` must be the scorer"),
        (swap("\"et\": [1, 1], ", ""), "list 1 and 1"),
    ];
    for (error, want) in cases {
        assert!(error.contains(want), "{error}\nwants {want}");
        assert!(error.contains("small.json: match ") && error.contains("2031-05-04"), "{error}");
    }
    let error = read(SMALL, "2031-05-09").unwrap_err().to_string();
    assert!(error.ends_with("it has 2 days from 2031-05-04 to 2031-05-05"), "{error}");
    assert!(read("{", "x").unwrap_err().to_string().contains("is no JSON"));
    assert!(read("{}", "x").unwrap_err().to_string().contains("`matches` must be an array"));
}

/// The real files lie beside the checkout on some hosts; where they don't, there is nothing to
/// replay.
#[test]
fn every_real_day_beside_the_checkout_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/openfootball");
    for (file, matches) in [("2022.worldcup.json", 64), ("2026.worldcup.json", 104)] {
        let file = folder.join(file);
        if !file.exists() {
            continue;
        }
        let root = read_json(&file).unwrap();
        let list = root["matches"].as_array().unwrap();
        let mut dates: Vec<&str> = list.iter().filter_map(|game| game["date"].as_str()).collect();
        dates.sort_unstable();
        dates.dedup();
        let count: usize =
            dates.iter().map(|date| read_games(&file, date).unwrap().games.len()).sum();
        assert_eq!(count, matches);
    }
}
