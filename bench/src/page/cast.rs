//! Who takes part in a study: what each is called, what it is, what was built of it and how it is
//! drawn, the same everywhere on the page.

use super::entry::Build;
use super::names;
use super::study::Study;
use crate::target::Subject;

impl Study {
    /// What was built of `subject`, the latest last.
    pub fn builds_of<'a>(&'a self, subject: &Subject) -> Vec<&'a Build> {
        let builds = self.builds.iter().filter(|(of, _)| of == subject);
        builds.map(|(_, build)| build).collect()
    }

    /// Everybody at each build, in the order of the page.
    pub fn builds(&self) -> impl Iterator<Item = (&Subject, &Build)> {
        self.subjects.iter().flat_map(|subject| {
            self.builds_of(subject).into_iter().map(move |build| (subject, build))
        })
    }

    /// What `subject` is, in a line.
    pub fn what(&self, subject: &Subject) -> String {
        let kept = match subject {
            Subject::Peer(name) => self.products.get(name).cloned(),
            _ => None,
        };
        kept.unwrap_or_else(|| names::what(subject))
    }

    /// What `subject` is called.
    pub fn title(&self, subject: &Subject) -> String {
        names::title(subject, &self.what(subject))
    }

    /// The same of one build of it, which is named where there are several.
    pub fn title_of(&self, subject: &Subject, build: &Build) -> String {
        let (title, builds) = (self.title(subject), self.builds_of(subject));
        match builds.iter().filter(|other| other.commit == build.commit).count() {
            _ if builds.len() < 2 => title,
            1 => format!("{title} {}", build.commit),
            _ => format!("{title} {}, {}", build.commit, build.version),
        }
    }

    /// Classes that say how `subject` is drawn: the same everywhere on the page.
    pub fn look(&self, subject: &Subject) -> String {
        let is_peer = |subject: &&Subject| matches!(subject, Subject::Peer(_));
        match subject {
            Subject::Floor(kind) => format!("floor {}", kind.as_str()),
            Subject::Variant(_) => "floor volley".into(),
            Subject::Touchline => "touchline".into(),
            Subject::Peer(_) => {
                let peers = self.subjects.iter().filter(is_peer);
                let index = peers.take_while(|known| *known != subject).count();
                format!("peer p{}", index % 7)
            }
        }
    }
}

#[cfg(test)]
impl Study {
    /// Runs of `title` in the first chapter.
    pub fn of_title(&mut self, title: &str) -> &mut [crate::run::Run] {
        let entries = &mut self.chapters[0].entries;
        &mut entries.iter_mut().find(|entry| entry.title == title).unwrap().runs
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_same_host_at_two_commits_has_one_chapter_with_both_in_it() {
        let lines = fixture::flood();
        let later = lines.replace("0123456789ab", "ba9876543210").replace("9000", "7000");
        let mut kept = fixture::kept_of(&lines);
        kept.add(std::path::Path::new("later.jsonl"), later.as_bytes()).unwrap();
        let study = Study::of(&kept).unwrap();
        assert_eq!((study.hosts.len(), study.chapters.len()), (1, 1));
        let titles: Vec<&str> =
            study.chapters[0].entries.iter().map(|entry| entry.title.as_str()).collect();
        assert_eq!(titles, ["Touchline 0123456789ab", "Touchline ba9876543210"]);
        assert!(study.chapters[0].entries[0].look.ends_with("earlier"));
        assert_eq!(study.commits[0], ["0123456789ab", "ba9876543210"]);
        // Who else was measured there makes no other host of it.
        let more = lines.replace("touchline-bench 0\"", "touchline-bench 0\",\"bun: Bun 1\"");
        kept.add(std::path::Path::new("more.jsonl"), more.replace("9000", "8000").as_bytes())
            .unwrap();
        assert_eq!(Study::of(&kept).unwrap().hosts.len(), 1);
    }

    #[test]
    fn what_was_asked_and_of_whom_stands_in_the_results() {
        let lines = fixture::lines();
        let own = lines.replace(
            "\"row\":\"hot-topic\"",
            "\"row\":\"storm\",\"question\":\"Is it mine?\",\"product\":\"b.u.n, my fork\"",
        );
        let study = fixture::study_of(&own);
        assert_eq!((study.chapters.len(), study.chapters[0].question.as_str()), (1, "Is it mine?"));
        let bun = Subject::Peer("bun".into());
        assert_eq!(
            (study.title(&bun), study.what(&bun)),
            ("b.u.n".into(), "b.u.n, my fork".into())
        );
        let old = fixture::study_of(&lines.replace("\"row\":\"hot-topic\"", "\"row\":\"storm\""));
        assert!(
            old.chapters[0].question.contains("resume"),
            "the tree's: {}",
            old.chapters[0].question
        );
        let mut kept = fixture::kept_of(&own);
        let other = own.replace("mine?", "yours?");
        kept.add(std::path::Path::new("other.jsonl"), other.as_bytes()).unwrap();
        assert_eq!(Study::of(&kept).unwrap().chapters.len(), 2, "another question is another");
    }
}
