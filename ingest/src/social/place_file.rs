//! A stream's place on the disk: one small file a source, replaced as a whole.
//!
//! It is written by a task of its own, for a sync may take long and the streams share one thread.
//! Only the newest place is of any use: what comes while one is being written replaces what waits.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use touchline_core::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::place::Mark;
use super::{Rewind, SocialSource};
use crate::limits::PLACE_BYTES_MAX;
use crate::outbound;

/// How all of these files end.
const SUFFIX: &str = "place";

#[derive(Serialize, Deserialize)]
struct Written {
    /// Tells one stream from another under the same name.
    stream: u64,
    at: i64,
    id: String,
}

/// The file of one source.
#[derive(Clone, Debug)]
pub(super) struct PlaceFile {
    file: PathBuf,
    stream: u64,
    source: Box<str>,
    has_times: bool,
}

impl PlaceFile {
    /// In `folder`; `None`: a source that goes on from nowhere keeps none.
    pub fn of(source: &SocialSource, folder: &Path) -> Option<Self> {
        if source.rewind == Rewind::None {
            return None;
        }
        let address = outbound::shown(&source.url);
        let what = format!("{address} {:?} {:?}", source.kind, source.rewind);
        Some(Self {
            file: folder.join(format!("{}.{SUFFIX}", source.name)),
            stream: xxh3_64(what.as_bytes()),
            source: source.name.clone(),
            has_times: source.mapping.time.is_some(),
        })
    }

    /// What stands in it, if that is of use at `now`.
    pub fn read(&self, now: Timestamp) -> Option<Mark> {
        let written = match self.load() {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let (source, file) = (&*self.source, self.file.display());
                tracing::warn!(source, %file, %error, "where a stream was left can't be read");
                return None;
            }
        };
        let mark = Mark { id: written.id, at: Timestamp(written.at) };
        let is_ours = written.stream == self.stream;
        (is_ours && mark.counts(now, self.has_times)).then_some(mark)
    }

    fn load(&self) -> io::Result<Written> {
        let mut text = String::new();
        fs::File::open(&self.file)?.take(PLACE_BYTES_MAX).read_to_string(&mut text)?;
        serde_json::from_str(&text).map_err(io::Error::from)
    }

    /// Writes down what comes, until nothing more can. `None`: the file goes.
    pub async fn keep(self, mut marks: watch::Receiver<Option<Mark>>) {
        while marks.changed().await.is_ok() {
            let mark = marks.borrow_and_update().clone();
            let it = self.clone();
            let kept = tokio::task::spawn_blocking(move || it.put(mark.as_ref())).await;
            if let Ok(Err(error)) = kept {
                let (source, file) = (&*self.source, self.file.display());
                tracing::warn!(
                    source,
                    %file,
                    %error,
                    "where a stream is can't be kept: a restart goes on from an older place; free \
                     some room, or let us write there"
                );
            }
        }
    }

    fn put(&self, mark: Option<&Mark>) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let Some(mark) = mark else {
            return match fs::remove_file(&self.file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| fs::File::open(folder)?.sync_all()),
            };
        };
        let written = Written { stream: self.stream, at: mark.at.0, id: mark.id.clone() };
        let text = serde_json::to_vec(&written)?;
        fs::create_dir_all(folder)?;
        let fresh = self.file.with_extension("new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.file)?;
        fs::File::open(folder)?.sync_all()
    }
}

/// Takes away what sources have left that aren't configured any more.
pub(super) fn tidy(folder: &Path, sources: &[SocialSource]) {
    for entry in fs::read_dir(folder).into_iter().flatten().map_while(Result::ok) {
        let file = entry.path();
        let name = file.file_stem().and_then(|name| name.to_str());
        let is_known = sources.iter().any(|source| Some(&*source.name) == name);
        if !is_known && file.extension().is_some_and(|it| it == SUFFIX || it == "new") {
            // What stays is small, and read by nobody.
            let _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_file(folder: &Path, stream: u64, has_times: bool) -> PlaceFile {
        let file = folder.join("places").join("plaza.place");
        PlaceFile { file, stream, source: "plaza".into(), has_times }
    }

    #[test]
    fn a_place_comes_back_unless_it_is_another_streams_or_too_old_to_be_told_from_a_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let file = place_file(folder.path(), 7, false);
        let at = Timestamp(1_780_000_000_000_000);
        assert_eq!(file.read(at), None, "there is none");
        let mark = Mark { id: "p-\"1\u{1b}".into(), at };
        file.put(Some(&mark)).unwrap();
        let minute = |n: i64| Timestamp(at.0 + n * 60_000_000);
        assert_eq!(file.read(minute(5)), Some(mark.clone()));
        assert_eq!(file.read(minute(-60)), Some(mark.clone()), "a clock that was set back");
        assert_eq!(file.read(minute(6)), None, "a repeat would be shown again");
        assert_eq!(place_file(folder.path(), 7, true).read(minute(600)), Some(mark));
        assert_eq!(place_file(folder.path(), 8, true).read(at), None, "another stream");
        fs::write(&file.file, "junk").unwrap();
        assert_eq!(file.read(at), None);
        let long = Mark { id: "\u{1}".repeat(crate::limits::EVENT_ID_BYTES_MAX), at };
        file.put(Some(&long)).unwrap();
        assert_eq!(file.read(at), Some(long), "the longest fits");
        file.put(None).unwrap();
        file.put(None).unwrap();
        assert_eq!(file.read(at), None);
    }
}
