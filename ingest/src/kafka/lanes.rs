//! Which partition of which topic is which lane (R1).
//!
//! Every stream has a topic of its own, all with the same count of partitions. Lanes are numbered
//! stream by stream, so that a lane tells its stream and the count alone tells all lanes: it is
//! fixed for an epoch.

use touchline_core::event::{Route, Stream};
use touchline_core::log::Lane;

use crate::limits::PARTITIONS_MAX;

/// The lanes of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lanes {
    topics: [Box<str>; 4],
    partitions: u16,
}

impl Lanes {
    /// Lanes of topics whose names begin with `prefix`, each with `partitions`, from 1 to
    /// [`PARTITIONS_MAX`].
    pub fn new(prefix: &str, partitions: u16) -> Self {
        let topics = Stream::ALL.map(|stream| format!("{prefix}{stream}-events").into());
        Self { topics, partitions: partitions.clamp(1, PARTITIONS_MAX) }
    }

    /// Partitions of each topic.
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    /// How many lanes there are.
    pub fn count(&self) -> usize {
        usize::from(self.partitions) * self.topics.len()
    }

    /// The lane of a stream's events of `route`.
    pub fn of(&self, stream: Stream, route: &Route) -> Lane {
        Lane(stream as u16 * self.partitions + route.partition(self.partitions))
    }

    /// Stream and partition of `lane`; `None` for a lane there isn't.
    pub fn place(&self, lane: Lane) -> Option<(Stream, i32)> {
        let stream = Stream::ALL.get(usize::from(lane.0 / self.partitions))?;
        Some((*stream, i32::from(lane.0 % self.partitions)))
    }

    /// Name of a stream's topic.
    pub fn topic(&self, stream: Stream) -> &str {
        &self.topics[stream as usize]
    }

    /// The lane that is `partition` of the topic of that name.
    pub fn find(&self, topic: &str, partition: i32) -> Option<Lane> {
        let stream = self.topics.iter().position(|name| **name == *topic)?;
        let partition = u16::try_from(partition).ok().filter(|it| *it < self.partitions)?;
        Some(Lane(u16::try_from(stream).ok()? * self.partitions + partition))
    }

    /// All lanes, with topic and partition.
    pub fn all(&self) -> impl Iterator<Item = (Lane, &str, i32)> {
        (0..self.count() as u16).filter_map(|lane| {
            let (stream, partition) = self.place(Lane(lane))?;
            Some((Lane(lane), self.topic(stream), partition))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::limits::LANES_MAX;

    #[test]
    fn a_lane_is_a_partition_of_a_streams_topic_and_back() {
        let lanes = Lanes::new("x.", 12);
        assert_eq!(lanes.count(), 48);
        assert_eq!(lanes.topic(Stream::Social), "x.social-events");
        for (lane, topic, partition) in lanes.all() {
            assert_eq!(lanes.find(topic, partition), Some(lane));
            let (stream, of) = lanes.place(lane).unwrap();
            assert_eq!((lanes.topic(stream), of), (topic, partition));
        }
        assert_eq!(lanes.find("broadcast-events", 0), None, "somebody else's topic");
        assert_eq!(lanes.find("x.broadcast-events", 12), None);
        assert_eq!(lanes.place(Lane(48)), None);
    }

    #[test]
    fn a_route_keeps_its_partition_in_every_stream() {
        let lanes = Lanes::new("", 12);
        let route = Route::parse("ars+che").unwrap();
        let partitions = Stream::ALL.map(|stream| lanes.place(lanes.of(stream, &route)).unwrap());
        assert!(partitions.iter().all(|(_, partition)| *partition == partitions[0].1));
        assert_eq!(partitions.map(|(stream, _)| stream), Stream::ALL);
    }

    #[test]
    fn all_lanes_fit_a_mark() {
        assert_eq!(Lanes::new("", u16::MAX).count(), LANES_MAX);
    }
}
