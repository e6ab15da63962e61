//! What others are to be told of letters: for whoever publishes them.
//!
//! A letter's row counts its changes, and says which of them others know. It is marked before it is
//! told, so that a letter which goes away meanwhile leaves its id behind; it is marked again once
//! that is done. A crash in between leads to telling it twice, which says the same.

use sqlx::{Connection as _, Row as _, query};
use touchline_core::event::Stream;

use super::book::{Book, DeadError, columns};
use super::letter::{Letter, State};

/// What is to be told of one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Its id.
    pub id: String,
    /// The stream it was meant for.
    pub stream: Stream,
    /// What it is like now, with its bytes; `None`: it needs nobody any more.
    pub letter: Option<(Letter, Vec<u8>)>,
    /// Which change that is; 0 where the letter is gone.
    change: i64,
}

impl Book {
    /// What is to be told of one stream: `limit` letters at most, the oldest first, and as many
    /// that are gone. It counts as on its way until [`Book::told`]. Streams are asked for one by
    /// one, so that those who hear of one may be away without the others being told less.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn news(&mut self, stream: Stream, limit: usize) -> Result<Vec<News>, DeadError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.run(async |connection, _| {
            let mut work = connection.begin_with("BEGIN IMMEDIATE").await?;
            let mut news = Vec::new();
            let gone = query("select id from buried where stream = ? limit ?");
            for row in gone.bind(stream.as_str()).bind(limit).fetch_all(&mut *work).await? {
                news.push(News { id: row.try_get("id")?, stream, letter: None, change: 0 });
            }
            let changed = query(concat!(
                "select ",
                columns!(),
                ", raw, change from letters where change <> told and stream = ? \
                 order by id limit ?"
            ));
            for row in changed.bind(stream.as_str()).bind(limit).fetch_all(&mut *work).await? {
                let (letter, raw, change) =
                    (Letter::read(&row)?, row.try_get("raw")?, row.try_get("change")?);
                let id = letter.id.clone();
                let letter = (letter.state != State::Replayed).then_some((letter, raw));
                query("update letters set told = -change where id = ?")
                    .bind(&id)
                    .execute(&mut *work)
                    .await?;
                news.push(News { id, stream, letter, change });
            }
            work.commit().await?;
            Ok(news)
        })
    }

    /// All of `news` has been told.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn told(&mut self, news: &[News]) -> Result<(), DeadError> {
        self.run(async |connection, _| {
            let mut work = connection.begin_with("BEGIN IMMEDIATE").await?;
            for News { id, change, .. } in news {
                let mark = match change {
                    0 => query("delete from buried where id = ?"),
                    change => query("update letters set told = ? where id = ?").bind(change),
                };
                mark.bind(id).execute(&mut *work).await?;
            }
            work.commit().await
        })
    }

    /// How many letters there are of which something is to be told.
    ///
    /// # Errors
    /// See [`DeadError`].
    pub fn untold(&mut self) -> Result<u64, DeadError> {
        self.run(async |connection, _| {
            let asked = query(
                "select (select count(*) from letters where change <> told) \
                 + (select count(*) from buried) as untold",
            );
            super::book::count(&asked.fetch_one(connection).await?, "untold")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::{Claim, DeadOptions, Filter, Settled};
    use touchline_core::dead::{DeadLetter, Desk};
    use touchline_core::time::Timestamp;

    const NOW: Timestamp = Timestamp(1_782_324_000_000_000);

    fn letter(raw: &'static [u8]) -> DeadLetter {
        DeadLetter {
            desk: Desk::Webhook,
            stream: Stream::Broadcast,
            source: "skyline".into(),
            reason: "invalid_events",
            detail: "item 0".into(),
            attempts: 1,
            correlation: "c".into(),
            received_at: NOW,
            raw: raw.into(),
        }
    }

    fn book(folder: &tempfile::TempDir) -> Book {
        Book::open(DeadOptions::new(folder.path().join("dead-letters.db"))).unwrap()
    }

    fn told(book: &mut Book) -> Vec<(Vec<u8>, bool)> {
        let news = book.news(Stream::Broadcast, 100).unwrap();
        book.told(&news).unwrap();
        let raw = |it: &News| it.letter.as_ref().map_or_else(Vec::new, |(_, raw)| raw.clone());
        news.iter().map(|it| (raw(it), it.letter.is_some())).collect()
    }

    #[test]
    fn a_letter_is_news_once_and_again_when_something_becomes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut book = book(&folder);
        book.put(&[letter(b"a"), letter(b"b")], NOW).unwrap();
        assert_eq!(book.untold().unwrap(), 2);
        assert_eq!(told(&mut book), [(b"a".to_vec(), true), (b"b".to_vec(), true)]);
        assert_eq!((told(&mut book), book.untold().unwrap()), (vec![], 0));
        book.put(&[letter(b"b")], NOW).unwrap();
        assert_eq!(told(&mut book), [(b"b".to_vec(), true)], "it came again");
        let id = book.list(&Filter::default(), 1, false).unwrap()[0].id.clone();
        let Claim::Taken(before, _) = book.claim(&id, NOW, false, false).unwrap() else { panic!() };
        book.settle(&before, Settled::Replayed, "accepted", NOW).unwrap();
        assert_eq!(told(&mut book), [(vec![], false)], "it needs nobody any more");
        book.drop_all(&Filter::default(), NOW).unwrap();
        assert_eq!(told(&mut book).len(), 2, "both are gone");
        assert_eq!(told(&mut book), []);
    }

    #[test]
    fn what_was_on_its_way_at_a_crash_is_told_again_and_what_went_away_meanwhile_is_buried() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = book(&folder);
        first.put(&[letter(b"a"), letter(b"b")], NOW).unwrap();
        assert_eq!(first.news(Stream::Broadcast, 100).unwrap().len(), 2);
        let id = first.list(&Filter::default(), 1, false).unwrap()[0].id.clone();
        first.drop_one(&id, NOW).unwrap();
        first.close();
        let mut again = book(&folder);
        let news = told(&mut again);
        assert_eq!(news, [(vec![], false), (b"b".to_vec(), true)]);
        // Of what was never told nothing is left.
        again.put(&[letter(b"c")], NOW).unwrap();
        again.drop_all(&Filter::default(), NOW).unwrap();
        assert_eq!(told(&mut again), [(vec![], false)], "of `b` alone");
    }

    #[test]
    fn a_file_of_the_build_before_is_taken_over_with_its_letters() {
        let folder = tempfile::tempdir().unwrap();
        let mut fresh = book(&folder);
        fresh.put(&[letter(b"a")], NOW).unwrap();
        fresh
            .run(async |connection, _| {
                sqlx::raw_sql(
                    "drop trigger letters_change; drop trigger letters_buried; \
                     drop index letters_news; drop table buried; \
                     alter table letters drop column change; alter table letters drop column told; \
                     pragma user_version = 1",
                )
                .execute(connection)
                .await
                .map(drop)
            })
            .unwrap();
        fresh.close();
        assert_eq!(told(&mut book(&folder)), [(b"a".to_vec(), true)]);
    }
}
