//! Languages are invented by clients: what that may cost.

use touchline_core::event::Lang;
use touchline_core::protocol::{ErrorCode, RequestError};

use super::*;
use crate::limits::LANGS_MAX;

const TEAMS: [&str; 3] = ["ars", "che", "bra"];

fn lang(number: usize) -> Lang {
    Lang::new(&format!("a{number}")).unwrap()
}

impl Fixture {
    fn speaker(&mut self, teams: &[&str], lang: Option<Lang>) -> Result<SessionId, RequestError> {
        let id = self.hub.open(NOW);
        let said = self.say(id, teams, lang);
        if said.is_err() {
            self.hub.close(id);
        }
        said.map(|()| id)
    }

    fn say(
        &mut self,
        id: SessionId,
        teams: &[&str],
        lang: Option<Lang>,
    ) -> Result<(), RequestError> {
        let teams = teams.iter().map(|team| Team::new(team).unwrap()).collect();
        let subscribe = Subscribe { teams, streams: StreamSet::ALL, lang, ..Subscribe::default() };
        let message = ClientMessage::Subscribe(subscribe);
        self.hub.handle_message(id, message, &bounds(0, self.next), NOW)
    }
}

#[test]
fn a_language_that_nobody_speaks_any_more_leaves_nothing_behind() {
    let mut it = Fixture::new();
    let stays = it.speaker(&TEAMS, None).unwrap();
    let before = it.hub.sizes();
    for number in 0..3_000 {
        let id = it.speaker(&TEAMS, Some(lang(number))).unwrap();
        assert_eq!(it.hub.sizes().lang_lists_max, 2, "after {number}");
        match number % 2 {
            0 => it.hub.close(id),
            _ => {
                let teams = TEAMS.iter().map(|team| Team::new(team).unwrap()).collect();
                let message = ClientMessage::Unsubscribe { id: None, teams };
                it.hub.handle_message(id, message, &bounds(0, 0), NOW).unwrap();
                it.hub.close(id);
            }
        }
    }
    let after = it.hub.sizes();
    assert_eq!((after.lang_lists, after.list_entries), (before.lang_lists, before.list_entries));
    it.drain(stays);
    let event = update("ars", 0, "a", 1);
    it.hub.handle_batch(&batch(0, 1, vec![event]), NOW);
    assert_eq!(ids(&it.drain(stays)), ["e0"]);
}

#[test]
fn a_team_has_so_many_languages_at_one_time() {
    let mut it = Fixture::new();
    let late = it.speaker(&["ars"], None).unwrap();
    let first: Vec<SessionId> =
        (0..LANGS_MAX).map(|number| it.speaker(&["ars"], Some(lang(number))).unwrap()).collect();
    let full = it.hub.sizes();
    let one_more = Some(lang(LANGS_MAX));
    let refused = |said: Result<(), RequestError>| said.unwrap_err().code;
    assert_eq!(it.speaker(&["ars"], one_more).unwrap_err().code, ErrorCode::TooManyLangs);
    let of_two_teams = it.speaker(&["che", "ars"], one_more);
    assert_eq!(of_two_teams.unwrap_err().code, ErrorCode::TooManyLangs);
    // It follows the full team already; to say a language now would move it there.
    assert_eq!(refused(it.say(late, &["che"], one_more)), ErrorCode::TooManyLangs);
    let now = it.hub.sizes();
    assert_eq!((now.teams, now.list_entries), (full.teams, full.list_entries), "nothing changed");
    for (who, allowed) in
        [("one that is spoken", Some(lang(7))), ("none", None), ("one in another team", one_more)]
    {
        let team = if allowed == one_more { "che" } else { "ars" };
        assert!(it.speaker(&[team], allowed).is_ok(), "{who}");
    }
    it.hub.close(first[0]);
    assert!(it.speaker(&["ars"], one_more).is_ok(), "there is room again");
    assert_eq!(it.hub.sizes().lang_lists_max, LANGS_MAX + 1, "and those without a language");
}
