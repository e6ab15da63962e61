//! Two requests of Kafka's protocol that no client library here can make: moving partitions to
//! other brokers, and changing one setting of a topic.
//!
//! Both are of the flexible kind: lengths are varints of one more than the length, and each
//! structure ends with its tagged fields, of which there are none.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use touchline_tests::e2e::brokers::Brokers;

const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;
const TOPIC: u8 = 2;
const SET: u8 = 0;
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn i16(mut self, number: i16) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn i32(mut self, number: i32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn u8(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// The length of what follows: below 127 here.
    fn count(self, count: usize) -> Self {
        self.u8(u8::try_from(count + 1).expect("few"))
    }

    fn text(mut self, text: &str) -> Self {
        self = self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// The end of a structure: no tagged fields.
    fn end(self) -> Self {
        self.u8(0)
    }
}

/// Sends a request to the first broker, which hands it on to the controller. Answers what follows
/// the response's head.
fn ask(brokers: &Brokers, key: i16, version: i16, body: &Body) -> Vec<u8> {
    let addresses = brokers.addresses();
    let first = addresses.split(',').next().expect("a broker");
    let mut stream = TcpStream::connect(first).expect("it listens");
    stream.set_read_timeout(Some(ANSWER_MAX)).expect("a time");
    let mut request = Body::default().i16(key).i16(version).i32(7).i16(-1).end().0;
    request.extend_from_slice(&body.0);
    let mut framed = (request.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(&request);
    stream.write_all(&framed).expect("it reads");
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("it answers");
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).expect("it answers");
    // Correlation, no tagged fields, throttle.
    answer.split_off(4 + 1 + 4)
}

/// Lets `replicas` hold a partition from now on.
pub fn reassign(brokers: &Brokers, topic: &str, partition: i32, replicas: &[i32]) {
    let mut body = Body::default().i32(10_000).count(1).text(topic).count(1).i32(partition);
    body = replicas.iter().fold(body.count(replicas.len()), |body, broker| body.i32(*broker));
    let answer = ask(brokers, ALTER_PARTITION_REASSIGNMENTS, 0, &body.end().end().end());
    assert_eq!(answer[..2], [0, 0], "{topic}/{partition} can't be moved: {answer:?}");
}

/// Sets one setting of a topic.
pub fn set(brokers: &Brokers, topic: &str, name: &str, value: &str) {
    let body = Body::default().count(1).u8(TOPIC).text(topic).count(1);
    let body = body.text(name).u8(SET).text(value).end().end().u8(0).end();
    let answer = ask(brokers, INCREMENTAL_ALTER_CONFIGS, 1, &body);
    assert_eq!(answer[1..3], [0, 0], "{name} of {topic} can't be set: {answer:?}");
}
