//! Reading what strangers send: a client's masked frames, and a partner's webhook after its
//! signature was checked.
#![allow(missing_docs)] // criterion's macros make functions that nobody can document

mod common;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use touchline_core::time::Timestamp;
use touchline_core::ws::{FrameLimits, Parser};
use touchline_ingest::broadcast::{Context, parse_body};

/// A masked frame, as a client sends it.
fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frames of clients");
    let subscribe = br#"{"op":"subscribe","id":1,"teams":["ars","che"]}"#.to_vec();
    for (name, opcode, payload) in [
        ("a pong", 0xa, b"touchline".to_vec()),
        ("a subscribe", 1, subscribe),
        ("4 KiB of text", 1, vec![b'x'; 4_096]),
    ] {
        let frame = client_frame(opcode, &payload);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        let limits = FrameLimits::default();
        group.bench_function(name, |b| {
            let parse = |mut bytes: Vec<u8>| {
                let mut parser = Parser::default();
                let mut input = &mut bytes[..];
                parser.next(&mut input, &limits).expect("a sound frame").is_some()
            };
            b.iter_batched(|| frame.clone(), parse, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn webhooks(c: &mut Criterion) {
    let mut group = c.benchmark_group("webhook bodies");
    for events in [1_usize, 100] {
        let data = r#"{"minute":45,"player":"Somebody","score":{"home":1,"away":0}}"#;
        let head = r#""teams":["ars","che"],"type":"goal","occurred_at":"2026-06-24T18:03:11.5Z""#;
        let item = |n| format!(r#"{{"id":"bench-{n:08}",{head},"data":{data}}}"#);
        let body = format!("[{}]", (0..events).map(item).collect::<Vec<_>>().join(","));
        let now = Timestamp::parse("2026-06-24T18:03:12Z").expect("a valid time");
        let context = Context { source: "bench", correlation: "bench", trace: None, now };
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(format!("{events} events"), |b| {
            b.iter(|| parse_body(black_box(body.as_bytes()), context).expect("a sound body"));
        });
    }
    group.finish();
}

criterion_group!(benches, frames, webhooks);
criterion_main!(benches);
