//! The first subscribe of a client that comes back: where it goes on, and whether that can be whole
//! (R4 to R9).

use smallvec::SmallVec;
use touchline_core::event::Topic;
use touchline_core::log::{HoleReason, Lane, LogBounds, Mark, Position};
use touchline_core::protocol::Resume;

use super::Hub;
use super::session::{Catchup, Flags, LaneCatchup};

/// What is to be told to the client about its resume.
pub(super) struct Verdict {
    /// What `subscribed` carries: the client's own mark, or the shard's progress (R3).
    pub(super) mark: Mark,
    pub(super) recovered: bool,
    /// Holes known by now, to be declared right after `subscribed`.
    pub(super) gaps: SmallVec<[(Mark, Mark, HoleReason); 1]>,
}

impl Hub {
    /// Sets the session on its way back. It follows its teams already, without a cursor.
    pub(super) fn resume(&mut self, index: u32, resume: Resume, bounds: &LogBounds) -> Verdict {
        let progress = self.progress();
        if !self.is_of_this_life(&resume, bounds) {
            let from = resume.mark.unwrap_or_else(|| progress.clone());
            self.stats.resumes.not_recovered += 1;
            let mark = match self.is_ready() {
                true => progress,
                false => self.stand_at_end(index, bounds),
            };
            let gap = (from, mark.clone(), HoleReason::Epoch);
            return Verdict { mark, recovered: false, gaps: [gap].into_iter().collect() };
        }
        let after = resume.after.into_iter().map(|(topic, _, position)| (topic, position));
        let after: Vec<(Topic, Position)> = after.collect();
        let mark = resume.mark.unwrap_or(progress);
        let gaps = self.begin_catchup(index, &mark, after, bounds);
        let recovered = gaps.is_empty();
        let resumes = &mut self.stats.resumes;
        match (recovered, self.sessions[index as usize].catchup.is_some()) {
            (false, _) => resumes.not_recovered += 1,
            (true, true) => resumes.from_log += 1,
            (true, false) => resumes.from_memory += 1,
        }
        Verdict { mark, recovered, gaps }
    }

    /// Sets a new session at the end of the log: it is live once this shard has read that far.
    pub(super) fn stand_at_end(&mut self, index: u32, bounds: &LogBounds) -> Mark {
        let next = bounds.lanes.iter().map(|lane| lane.next).collect();
        let mark = Mark { epoch: bounds.epoch, next };
        self.begin_catchup(index, &mark, Vec::new(), bounds);
        mark
    }

    /// Whether mark and positions can stem from this life of the log: its epoch, its lanes, below
    /// its real end (R4).
    fn is_of_this_life(&self, resume: &Resume, bounds: &LogBounds) -> bool {
        let end = |lane: Lane| bounds.lanes.get(usize::from(lane.0)).map(|lane| lane.end);
        let mark_fits = resume.mark.as_ref().is_none_or(|mark| {
            mark.epoch == bounds.epoch
                && mark.next.len() == bounds.lanes.len()
                && mark.next.iter().zip(&bounds.lanes).all(|(next, lane)| *next <= lane.end)
        });
        mark_fits
            && bounds.epoch == self.epoch
            && resume.after.iter().all(|(_, epoch, position)| {
                *epoch == bounds.epoch && end(position.lane).is_some_and(|end| position.seq < end)
            })
    }

    /// Stands the session at `mark` in every lane, then joins those that memory can answer at once.
    /// Returns what retention has removed already.
    fn begin_catchup(
        &mut self,
        index: u32,
        mark: &Mark,
        after: Vec<(Topic, Position)>,
        bounds: &LogBounds,
    ) -> SmallVec<[(Mark, Mark, HoleReason); 1]> {
        let mut kept = mark.clone();
        for (next, lane) in kept.next.iter_mut().zip(&bounds.lanes) {
            *next = (*next).max(lane.first);
        }
        let of_lane =
            |(lane, next): (usize, &u64)| LaneCatchup { lane: Lane(lane as u16), next: *next };
        let lanes: SmallVec<[LaneCatchup; 1]> = kept.next.iter().enumerate().map(of_lane).collect();
        let catchup = Catchup {
            lanes: lanes.clone(),
            after,
            late: Vec::new(),
            waiting_since: None,
            ticket: None,
        };
        let session = &mut self.sessions[index as usize];
        session.flags.set(Flags::RETURNING);
        session.catchup = Some(Box::new(catchup));
        for of in lanes {
            if self.can_join(index, &of) {
                self.join(index, of);
            }
        }
        let overrun = kept != *mark;
        overrun.then(|| (mark.clone(), kept, HoleReason::Retention)).into_iter().collect()
    }
}
