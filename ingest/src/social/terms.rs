//! Which teams a post concerns: those of which it holds a term, as a whole word, whatever its case.
//!
//! # Two looks
//! [`Terms::look`] searches the post as it came, JSON and all, for a part of each term that stands
//! there verbatim if the term stands in the text: it may see a term where there is none (in a link,
//! in a longer word), never miss one. Nine posts in ten end there, unparsed. [`Terms::teams`] then
//! judges the text itself. Both are one pass of an automaton, however many terms there are.
//!
//! # Case and words
//! Letters are folded to lower case one by one, where upper and lower case belong to each other
//! alone (so ASCII stays with ASCII, and both looks agree). A term's edge that is a letter, a
//! digit, `_`, `#`, `@` or `$` must not touch another letter or digit; in scripts written without
//! spaces, and for signs, there is nothing to touch.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use touchline_core::event::{Route, Team};
use touchline_core::limits::ROUTE_TEAMS_MAX;

use crate::limits::{TERM_BYTES_MAX, TERM_TEAMS_MAX, TERMS_MAX};

/// Terms of all teams of one source.
#[derive(Debug)]
pub struct Terms {
    /// Sorted; a team is known by its number here.
    teams: Box<[Team]>,
    terms: Box<[Term]>,
    /// Finds whole terms in folded text.
    exact: AhoCorasick,
    /// Finds parts of terms in JSON; `None` where some term has no part that must stand there.
    rough: Option<AhoCorasick>,
    /// Whose part it is.
    rough_teams: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    team: u32,
    begins_word: bool,
    ends_word: bool,
}

/// What a look at a post as it came tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It holds no term.
    Nothing,
    /// It may hold terms of these teams, and of no others.
    Perhaps,
    /// Only its text can tell.
    Unsure,
}

/// Room for work, kept from post to post.
#[derive(Debug, Default)]
pub struct Scratch {
    folded: String,
    unescaped: Vec<u8>,
}

impl Terms {
    /// Reads lines such as `ars: arsenal, gunners, #afc`. `Err` is a sentence.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for line in lines.iter().map(AsRef::as_ref) {
            let shown = line.escape_debug().take(60).collect::<String>();
            let (team, terms) = line.split_once(':').ok_or_else(|| {
                format!("`terms`: \"{shown}\" must be as in \"ars: arsenal, gunners\"")
            })?;
            let team = Team::new(team.trim())
                .map_err(|expects| format!("`terms`: the team of \"{shown}\" {expects}"))?;
            for term in terms.split(',').map(str::trim).filter(|term| !term.is_empty()) {
                if term.len() > TERM_BYTES_MAX {
                    return Err(format!(
                        "`terms`: one of \"{shown}\" is above {TERM_BYTES_MAX} bytes"
                    ));
                }
                pairs.push((team.clone(), term));
            }
        }
        if !(1..=TERMS_MAX).contains(&pairs.len()) {
            return Err(format!(
                "`terms` must hold 1 to {TERMS_MAX} terms, as in \"ars: arsenal\""
            ));
        }
        Self::build(&pairs)
    }

    fn build(pairs: &[(Team, &str)]) -> Result<Self, String> {
        let mut teams: Vec<Team> = pairs.iter().map(|(team, _)| team.clone()).collect();
        teams.sort();
        teams.dedup();
        if teams.len() > TERM_TEAMS_MAX {
            return Err(format!("`terms` name more than {TERM_TEAMS_MAX} teams"));
        }
        let (mut terms, mut texts) = (Vec::new(), Vec::new());
        for (team, term) in pairs {
            let mut folded = String::new();
            fold(term, &mut folded);
            let team = teams.binary_search(team).unwrap_or_default() as u32;
            let begins_word = folded.chars().next().is_some_and(is_edge);
            let ends_word = folded.chars().next_back().is_some_and(is_edge);
            terms.push(Term { team, begins_word, ends_word });
            texts.push(folded);
        }
        let unfit = |error: aho_corasick::BuildError| format!("`terms`: {error}");
        let mut builder = AhoCorasickBuilder::new();
        builder.match_kind(MatchKind::Standard);
        let exact = builder.build(&texts).map_err(unfit)?;
        let (mut parts, mut rough_teams) = (Vec::new(), Vec::new());
        let mut is_whole = true;
        for (text, term) in texts.iter().zip(&terms) {
            let own = verbatim(text);
            is_whole &= !own.is_empty();
            rough_teams.extend(own.iter().map(|_| term.team));
            parts.extend(own);
        }
        let rough = match is_whole {
            true => Some(builder.ascii_case_insensitive(true).build(parts).map_err(unfit)?),
            false => None,
        };
        let rough_teams = rough_teams.into();
        Ok(Self { teams: teams.into(), terms: terms.into(), exact, rough, rough_teams })
    }

    /// How many teams there are.
    pub fn teams_count(&self) -> usize {
        self.teams.len()
    }

    /// Looks at a post as it came. `teams` gets the numbers of those it may concern.
    pub fn look(&self, json: &[u8], scratch: &mut Scratch, teams: &mut Vec<u32>) -> Look {
        teams.clear();
        let Some(rough) = &self.rough else { return Look::Unsure };
        let is_escaped = memchr::memmem::find(json, b"\\u").is_some();
        if is_escaped {
            unescape(json, &mut scratch.unescaped);
        }
        let text = if is_escaped { scratch.unescaped.as_slice() } else { json };
        for found in rough.find_overlapping_iter(text) {
            let team = self.rough_teams[found.pattern()];
            if !teams.contains(&team) {
                if teams.len() == ROUTE_TEAMS_MAX {
                    return Look::Unsure;
                }
                teams.push(team);
            }
        }
        if teams.is_empty() { Look::Nothing } else { Look::Perhaps }
    }

    /// The teams that a text concerns, by number, the first eight of them.
    pub fn teams(&self, text: &str, scratch: &mut Scratch, teams: &mut Vec<u32>) {
        teams.clear();
        fold(text, &mut scratch.folded);
        let folded = scratch.folded.as_str();
        for found in self.exact.find_overlapping_iter(folded) {
            let term = &self.terms[found.pattern()];
            if teams.contains(&term.team) {
                continue;
            }
            let before = folded.get(..found.start()).and_then(|text| text.chars().next_back());
            let after = folded.get(found.end()..).and_then(|text| text.chars().next());
            let touches = term.begins_word && before.is_some_and(is_word)
                || term.ends_word && after.is_some_and(is_word);
            if !touches {
                teams.push(term.team);
            }
        }
        teams.sort_unstable();
        teams.truncate(ROUTE_TEAMS_MAX);
    }

    /// The route of teams by number. `None`: there are none.
    pub fn route(&self, teams: &[u32]) -> Option<Route> {
        let names: Vec<&str> = teams
            .iter()
            .filter_map(|team| self.teams.get(*team as usize).map(Team::as_str))
            .collect();
        Route::new(&names).ok()
    }
}

/// Lower case, and one kind of space.
fn fold(text: &str, out: &mut String) {
    out.clear();
    for c in text.chars() {
        match c {
            c if c.is_ascii_whitespace() => out.push(' '),
            c if c.is_ascii() => out.push(c.to_ascii_lowercase()),
            c if c.is_whitespace() => out.push(' '),
            c => out.push(lower(c)),
        }
    }
}

fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) if lower.to_uppercase().eq([c]) => lower,
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if lower(upper) == c => upper,
        _ => c,
    }
}

fn is_word(c: char) -> bool {
    (c.is_alphanumeric() && !is_unspaced(c)) || c == '_'
}

fn is_edge(c: char) -> bool {
    is_word(c) || matches!(c, '#' | '@' | '$')
}

/// Of a script whose words stand without spaces, or with what belongs to them attached: Thai and
/// its neighbours, kana, Chinese characters, Hangul.
fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{20000}'..='\u{323af}')
}

/// Of a folded term, what stands in the JSON of every text that holds it, but for the case of ASCII
/// letters: its longest stretch of ASCII that JSON needn't escape, else the first two letters of
/// its longest word in either case. Nothing, for a term of signs that JSON may escape.
fn verbatim(term: &str) -> Vec<String> {
    let escapes = |c: char| c.is_ascii_control() || matches!(c, ' ' | '"' | '\\' | '/');
    let longest = |breaks: &dyn Fn(char) -> bool| {
        term.split(breaks).max_by_key(|part| part.len()).unwrap_or_default()
    };
    let ascii = longest(&|c| !c.is_ascii() || escapes(c));
    if !ascii.is_empty() {
        return vec![ascii.to_owned()];
    }
    let mut letters = longest(&escapes).chars().take(2);
    let Some(first) = letters.next() else { return Vec::new() };
    let second = letters.next();
    let mut parts = Vec::new();
    for first in [first, upper(first)] {
        let seconds = second.map_or(vec![None], |it| vec![Some(it), Some(upper(it))]);
        parts.extend(seconds.into_iter().map(|it| [Some(first), it].iter().flatten().collect()));
    }
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// `json` with each `\uXXXX` replaced by what it stands for; other escapes stay as they are.
fn unescape(json: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let (mut rest, mut high) = (json, None);
    while let Some(at) = memchr::memchr(b'\\', rest) {
        if at > 0 {
            high = None;
        }
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let Some(unit) = code_unit(rest) else {
            // An escaped backslash counts as a pair: what follows it is no escape.
            let pair = rest.len().min(2);
            out.extend_from_slice(&rest[..pair]);
            rest = &rest[pair..];
            continue;
        };
        rest = &rest[6..];
        let pair = high.take().map(|high| [high, unit]);
        let units = pair.as_ref().map_or(std::slice::from_ref(&unit), |pair| pair.as_slice());
        if pair.is_none() && (0xd800..0xdc00).contains(&unit) {
            high = Some(unit);
            continue;
        }
        for c in char::decode_utf16(units.iter().copied()) {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.extend_from_slice(rest);
}

fn code_unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    })
}

#[cfg(test)]
mod tests;
