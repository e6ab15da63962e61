//! What happens to a session that has fallen too far behind in a stream (DESIGN section 4, R24).
//!
//! A session is judged when it is visited, and by its stall timer while its socket is blocked. Two
//! bounds hold for each stream: the window (what was evicted can't be sent) and the session's own
//! `queue_bytes_max`. Past either,
//! - `broadcast` ends the session, 4008: it comes back and resumes, and the log makes it whole;
//! - `update`, `social` and `sensor` skip ahead, and the session is told what it lost: a `gap` for
//!   the topic, reason `slow`. What conflation replaced is not lost and not told.

use smallvec::SmallVec;
use touchline_core::event::Stream;
use touchline_core::log::{HoleReason, Position};
use touchline_core::protocol::answer;
use touchline_core::time::Monotonic;

use super::session::{Cursor, Flags};
use super::{CloseCause, Hub, SessionId};

impl Hub {
    /// Judges a session whose socket is blocked: bounds, and how long it has taken nothing. To be
    /// called about once a second for as long as [`Hub::is_blocked`].
    pub fn handle_stall(&mut self, id: SessionId, now: Monotonic) {
        let Some(session) = self.session(id) else { return };
        if session.flags.has(Flags::BLOCKED)
            && now.since(session.progress_at) >= self.config.stall_max
        {
            self.condemn(id.index, CloseCause::Stalled);
        } else {
            self.judge(id.index, now);
        }
    }

    /// Applies the policies of all streams the session lags in.
    pub(super) fn judge(&mut self, index: u32, now: Monotonic) {
        if self.sessions[index as usize].cursors.is_empty() {
            return;
        }
        self.drop_stale(index, now);
        for stream in Stream::ALL {
            if self.is_out_of_bounds(index, stream) {
                match stream {
                    Stream::Broadcast => return self.condemn(index, CloseCause::Slow),
                    Stream::Update | Stream::Social | Stream::Sensor => {
                        self.skip_ahead(index, stream)
                    }
                }
            }
        }
    }

    /// A session on its way back may have any queue that the windows hold: what it missed is not
    /// its fault, and to end it for that would bring it back with the same mark for ever.
    fn is_out_of_bounds(&self, index: u32, stream: Stream) -> bool {
        let returning = self.sessions[index as usize].flags.has(Flags::RETURNING);
        let mut queue_bytes = 0;
        for cursor in &self.sessions[index as usize].cursors {
            let topic = self.topics.get(cursor.topic);
            if topic.key.stream == stream {
                if cursor.seq < topic.window.floor() {
                    return true;
                }
                queue_bytes += topic.window.bytes_from_at_most(cursor.seq);
            }
        }
        let bytes_max = self.config.stream(stream).queue_bytes_max as u64;
        // The cheap figure counts what has been replaced meanwhile; only past the bound is the
        // exact one worth a walk.
        !returning && queue_bytes > bytes_max && self.queue_bytes(index, stream) > bytes_max
    }

    fn queue_bytes(&self, index: u32, stream: Stream) -> u64 {
        let cursors = self.sessions[index as usize].cursors.iter();
        let topics = cursors.map(|cursor| (self.topics.get(cursor.topic), cursor.seq));
        let of_stream = topics.filter(|(topic, _)| topic.key.stream == stream);
        of_stream.map(|(topic, seq)| topic.window.bytes_from(seq)).sum()
    }

    /// Moves each cursor of the stream to the window's start, or further, so that half of what the
    /// session may have unsent is left: a session that is always slow then hears of one gap now and
    /// again, not of one an event.
    fn skip_ahead(&mut self, index: u32, stream: Stream) {
        let cursors: SmallVec<[Cursor; 4]> =
            self.sessions[index as usize].cursors.iter().copied().collect();
        let of_stream = |cursor: &&Cursor| self.topics.get(cursor.topic).key.stream == stream;
        let topics = cursors.iter().filter(of_stream).count().max(1) as u64;
        let bytes_max = self.config.stream(stream).queue_bytes_max as u64;
        let returning = self.sessions[index as usize].flags.has(Flags::RETURNING);
        let over = !returning && self.queue_bytes(index, stream) > bytes_max;
        for cursor in cursors {
            let topic = self.topics.get(cursor.topic);
            if topic.key.stream != stream {
                continue;
            }
            let fits = if over { topic.window.seq_within(bytes_max / 2 / topics) } else { 0 };
            let to = fits.max(topic.window.floor());
            // A loose cursor may lie below the first event that fits with nothing in between: then
            // nothing is lost, and nothing told.
            let unsent = topic.window.live_from(cursor.seq).next();
            let loses = unsent.is_some_and(|entry| entry.seq < to);
            if cursor.seq < topic.window.floor() || loses {
                self.skip(index, cursor, to);
            }
        }
    }

    /// Declares `cursor.seq..to` of the topic lost and moves the cursor.
    fn skip(&mut self, index: u32, cursor: Cursor, to: u64) {
        let topic = self.topics.get(cursor.topic);
        let [from, last] = [cursor.seq, to - 1].map(|seq| Position { lane: topic.lane, seq });
        let gap = answer::gap_topic(&topic.key, self.epoch, from, last, HoleReason::Slow);
        self.stats.count_gap(HoleReason::Slow);
        let cursors = &mut self.sessions[index as usize].cursors;
        if let Some(of) = cursors.iter_mut().find(|of| of.topic == cursor.topic) {
            of.seq = to;
        }
        self.tell(index, gap);
    }

    /// Sensor values that became durable before this are too old to be sent to anybody (R20). They
    /// age while the shard is stopped, too.
    pub(super) fn stale_before(&self, now: Monotonic) -> Monotonic {
        now + self.lapse - self.config.stream(Stream::Sensor).age_max
    }

    /// Sensor values that are too old are not sent to anybody any more (R20).
    fn drop_stale(&mut self, index: u32, now: Monotonic) {
        let limit = self.stale_before(now);
        for at in 0..self.sessions[index as usize].cursors.len() {
            let of = self.sessions[index as usize].cursors[at].topic;
            let topic = self.topics.get_mut(of);
            if topic.key.stream == Stream::Sensor {
                let before = topic.window.bytes();
                topic.window.drop_stale(limit);
                let dropped = before - topic.window.bytes();
                if dropped > 0 {
                    self.topics.bytes -= dropped;
                    self.ranges.clear();
                }
            }
        }
    }
}
