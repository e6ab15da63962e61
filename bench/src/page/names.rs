//! What scenarios ask and what subjects are called. Results say so themselves; of older ones the
//! files of the tree do.

use crate::floor::Kind;
use crate::rows::PLANS;
use crate::scenario::Scenario;
use crate::target::Subject;
use crate::target::file::Target;

/// What scenario or row `name` asks; its name if nobody knows any more.
pub fn question(name: &str) -> String {
    let scenario = Scenario::load(name).map(|scenario| scenario.question).ok();
    let plan = || PLANS.iter().find(|plan| plan.name == name).map(|plan| plan.question.to_owned());
    scenario.or_else(plan).unwrap_or_else(|| name.to_owned())
}

/// What a subject is, in a line.
pub fn what(subject: &Subject) -> String {
    match subject {
        Subject::Floor(Kind::Send) => "what the kernel charges for one send(2) a socket".into(),
        Subject::Floor(Kind::Volley) => "what it charges for sends by io_uring".into(),
        Subject::Variant(variant) => format!("the floor of the lab, {variant}"),
        Subject::Touchline => "this server, at the commit above".into(),
        Subject::Peer(name) => Target::load(name)
            .map(|target| target.what)
            .ok()
            .unwrap_or_else(|| "described by a file that isn't here".into()),
    }
}

/// What a subject is called: its target's name, written as the product writes it where its
/// description `what` begins so.
pub fn title(subject: &Subject, what: &str) -> String {
    let name = match subject {
        Subject::Floor(_) | Subject::Variant(_) => return subject.to_string(),
        Subject::Touchline => return "Touchline".into(),
        Subject::Peer(name) => name,
    };
    let letters = |text: &str| {
        text.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase()
    };
    let begins = |end: &usize| letters(&what[..*end]) == letters(name);
    let ends = what.char_indices().map(|(start, letter)| start + letter.len_utf8());
    match ends.into_iter().find(begins) {
        Some(end) => what[..end].to_owned(),
        None => name.clone(),
    }
}

/// A product's name and its version, out of a host's `versions`: `name: version`, or `name version`
/// of ours.
pub fn name_and_version(text: &str) -> (&str, &str) {
    text.split_once(": ").or_else(|| text.split_once(' ')).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_called_as_it_calls_itself() {
        let title = |name: &str| {
            let subject = Subject::Peer(name.into());
            title(&subject, &what(&subject))
        };
        let titles = ["uwebsockets", "socketio", "axum", "nowhere"].map(title);
        assert_eq!(titles, ["uWebSockets", "Socket.IO", "axum", "nowhere"]);
    }
}
