//! Making, sealing, setting aside and removing segments.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Active, Engine, WriteError};
use crate::journal::disk::{self, Disk};
use crate::journal::format::SegmentHead;
use crate::journal::meta::Meta;
use crate::journal::stats::{add, set};
use crate::journal::summary;
use crate::journal::view::{Extent, Mode, Segment, View};
use crate::limits::BLOCK_BYTES;

/// Name of the segment that begins at `first`.
pub fn name_of(first: u64) -> String {
    format!("{first:020}.seg")
}

/// Name of a segment that was set aside: it says where the damage begins, so that no later start
/// has to look for it.
pub fn damaged_name_of(first: u64, offset: u64) -> String {
    format!("{first:020}.{offset}.damaged")
}

/// Reads what [`name_of`] and [`damaged_name_of`] write: first sequence, and offset of the damage.
pub fn parse_name(name: &str) -> Option<(u64, Option<u64>)> {
    let mut parts = name.split('.');
    let first = parts.next().filter(|digits| digits.len() == 20)?.parse().ok()?;
    match (parts.next()?, parts.next(), parts.next()) {
        ("seg", None, None) => Some((first, None)),
        (offset, Some("damaged"), None) => Some((first, Some(offset.parse().ok()?))),
        _ => None,
    }
}

impl<D: Disk> Engine<D> {
    /// There is a segment to write to, and it has room.
    pub(super) fn ensure_active(&mut self) -> Result<(), WriteError> {
        if let Some(active) = &self.active {
            if active.end < self.options.segment_bytes {
                return Ok(());
            }
            self.seal();
        }
        self.active = Some(self.create_segment()?);
        if let Err(error) = self.write_meta() {
            // It is only how far the log is known to have got; the segments say so too.
            tracing::warn!(%error, "the journal could not note how far it has got");
        }
        self.retain();
        Ok(())
    }

    /// Writes the checkpoint of the segment that was written to, and lets go of it.
    fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        let range = (active.segment.first, self.next);
        let index = active.segment.extent.entries();
        let written = summary::write(&mut self.disk, active.epoch, range, &index, &active.ids);
        if let Err(error) = written {
            tracing::warn!(%error, file = %active.segment.name,
                "no checkpoint for this segment: the next start reads it whole");
        }
    }

    /// A new segment: its head and its name are durable before anything in it is acknowledged
    /// (R12).
    fn create_segment(&mut self) -> Result<Active<D::File>, WriteError> {
        let (first, epoch) = (self.next, self.shared.epoch);
        let name = name_of(first);
        let mut file = self.create_file(&name).map_err(WriteError::Passing)?;
        let head =
            SegmentHead { epoch, first, proven: self.next, opened_at: self.log_time.stamp() };
        if let Err(error) = self.start_file(&mut file, &head) {
            let _ = self.disk.remove(&name);
            return Err(error);
        }
        let segment = Arc::new(Segment {
            first,
            name: name.into(),
            opened_at: self.log_time.stamp(),
            damaged_at: None,
            extent: Extent::new(BLOCK_BYTES as u64, Vec::new()),
        });
        let mut view = View::clone(&self.shared.view());
        view.segments.retain(|other| other.name != segment.name);
        view.segments.push(segment.clone());
        self.shared.set_view(view);
        self.proven = self.next;
        add(&self.shared.stats.size_bytes, BLOCK_BYTES as u64);
        Ok(Active { file, segment, epoch, end: BLOCK_BYTES as u64, indexed: 0, ids: Vec::new() })
    }

    /// A file that begins at the next sequence holds nothing: it is left of an attempt that failed,
    /// or of an earlier life that ended with it.
    fn create_file(&mut self, name: &str) -> io::Result<D::File> {
        match self.disk.create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.disk.remove(name)?;
                self.disk.create(name)
            }
            file => file,
        }
    }

    /// Until the first sync nothing has been entrusted to the file, so whatever fails may be tried
    /// again with a new one. To sync the folder takes a descriptor, which may be wanting, too.
    fn start_file(&mut self, file: &mut D::File, head: &SegmentHead) -> Result<(), WriteError> {
        self.disk.write_at(file, 0, &head.encode()).map_err(WriteError::Passing)?;
        self.disk.sync_data(file).map_err(WriteError::Failed)?;
        self.disk.sync_dir().map_err(|error| match disk::is_passing(&error) {
            true => WriteError::Passing(error),
            false => WriteError::Failed(error),
        })
    }

    pub(super) fn write_meta(&mut self) -> io::Result<()> {
        Meta { epoch: self.shared.epoch, seen: self.next }.write(&mut self.disk)
    }

    /// Sets the segment aside that begins at `first`, because it is damaged at `offset`: it keeps
    /// its bytes under another name, what can be read of it is still read, and writing goes on in a
    /// new one (R12).
    pub fn quarantine(&mut self, first: u64, offset: u64) {
        let mut view = View::clone(&self.shared.view());
        let Some(at) = view.segments.iter().position(|segment| segment.first == first) else {
            return;
        };
        let old = view.segments[at].clone();
        if old.damaged_at.is_some() {
            return;
        }
        self.shared.set_damage(old.name.clone(), offset);
        if self.active.as_ref().is_some_and(|active| active.segment.first == first) {
            if self.next == first {
                // Nothing is in it: a new one would have the same name.
                return;
            }
            self.seal();
        }
        let name = damaged_name_of(first, offset);
        let moved = self.disk.rename(&old.name, &name).and_then(|()| self.disk.sync_dir());
        if let Err(error) = moved {
            tracing::error!(%error, file = %old.name, "a damaged segment could not be set aside");
            return;
        }
        tracing::error!(file = %name, offset, "a segment is damaged and was set aside");
        self.shared.set_damage(Arc::from(&*name), offset);
        view.segments[at] = Arc::new(Segment {
            first,
            name: name.into(),
            opened_at: old.opened_at,
            damaged_at: Some(offset),
            extent: old.extent.clone(),
        });
        self.shared.set_view(view);
        // Without the segment nothing on disk but this says how far the log had got: should the
        // process die before the next one begins, its sequences must not be given out again.
        if let Err(error) = self.write_meta() {
            tracing::warn!(%error, "the journal could not note how far it has got");
        }
    }

    /// Removes the oldest segments while there are too many bytes or they are too old, but none
    /// that reaches into a dedupe window (R16) or is held, and never the one that is written to.
    /// Damaged files stay for whoever looks after them; they only stop being read.
    pub(super) fn retain(&mut self) {
        let mut view = View::clone(&self.shared.view());
        let mut total: u64 = view.segments.iter().map(|s| s.extent.bytes.load(Relaxed)).sum();
        let window = self.log_time.for_retention().minus(self.window_max());
        let age = self.log_time.for_retention().minus(self.options.retention_age);
        let mut gone = Vec::new();
        while let [oldest, following, ..] = view.segments.as_slice() {
            let ended = following.opened_at;
            let over = total > self.options.retention_bytes || ended < age;
            let is_held = following.first > self.shared.held_from();
            if !over || is_held || ended >= window || self.shared.mode() == Mode::ReadOnly {
                break;
            }
            total -= oldest.extent.bytes.load(Relaxed);
            gone.push(view.segments.remove(0));
        }
        set(&self.shared.stats.segments, view.segments.len() as u64);
        set(&self.shared.stats.size_bytes, total);
        if gone.is_empty() {
            return;
        }
        self.shared.set_view(view);
        for segment in gone.iter().filter(|segment| segment.damaged_at.is_none()) {
            let _ = self.disk.remove(&summary::name_of(segment.first));
            // One after the other: should the power go, what is left must have no hole in its
            // middle.
            let removed = self.disk.remove(&segment.name).and_then(|()| self.disk.sync_dir());
            if let Err(error) = removed {
                tracing::warn!(%error, file = %segment.name, "an old segment could not be removed");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segments_name_says_what_it_holds() {
        assert_eq!(parse_name(&name_of(42)), Some((42, None)));
        assert_eq!(parse_name(&damaged_name_of(42, 8192)), Some((42, Some(8192))));
        for other in ["meta", "lock", "42.seg", "00000000000000000042.ids", "x.seg.damaged"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
