//! An echo server around the production handshake and frame parser, for the Autobahn cases.
//!
//! Usage: `ws_echo [ADDRESS] [MESSAGE_BYTES_MAX]`. It listens (by default on a free loopback port,
//! messages up to 16 MiB), prints `listening on ADDRESS`, and sends every message back until it is
//! killed. One thread per connection: what is under test is the parser, not the shard.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use touchline_core::frame::frame;
use touchline_core::ws::refusal::healthz_response;
use touchline_core::ws::{
    Event, FrameLimits, Handshake, OriginPolicy, Parser, Progress, close_frame, echo_close_frame,
    pong_frame,
};

const READ_BYTES: usize = 64 * 1024;
/// A peer that neither reads nor closes is given up after this.
const WAIT_MAX: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".into());
    let message_bytes_max = match arguments.next() {
        Some(number) => number.parse().context("MESSAGE_BYTES_MAX must be a number")?,
        None => 16 << 20,
    };
    // The cases count fragments only to tell a message's size; what limits them here is that size.
    let limits =
        FrameLimits { message_bytes_max, fragments_max: u32::MAX, empty_fragments_max: u32::MAX };
    let listener = TcpListener::bind(&address).with_context(|| format!("listen on {address}"))?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut stream = stream.context("accept a connection")?;
        std::thread::spawn(move || {
            if let Err(error) = serve(&mut stream, &limits) {
                eprintln!("{error:#}");
            }
        });
    }
    Ok(())
}

fn serve(stream: &mut TcpStream, limits: &FrameLimits) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    let mut scratch = vec![0; READ_BYTES];
    if let Some((at, end)) = shake_hands(stream, &mut scratch)? {
        echo(stream, &mut scratch, at, end, limits)?;
    }
    linger(stream, &mut scratch)
}

/// The rest of the last read, `at..end` of `scratch`, is frames. `None` if there is no connection.
fn shake_hands(stream: &mut TcpStream, scratch: &mut [u8]) -> Result<Option<(usize, usize)>> {
    let mut handshake = Handshake::default();
    loop {
        let end = stream.read(scratch).context("read a head")?;
        if end == 0 {
            return Ok(None);
        }
        match handshake.feed(&scratch[..end], &OriginPolicy::default()) {
            Progress::NeedMore => {}
            Progress::Upgrade { request, taken } => {
                stream.write_all(&request.response())?;
                return Ok(Some((taken, end)));
            }
            Progress::Healthz => {
                return stream.write_all(&healthz_response()).map(|()| None).context("answer");
            }
            Progress::Refuse(refusal) => {
                stream.write_all(&refusal.response(1))?;
                return Ok(None);
            }
        }
    }
}

fn echo(
    stream: &mut TcpStream,
    scratch: &mut [u8],
    mut at: usize,
    mut end: usize,
    limits: &FrameLimits,
) -> Result<()> {
    let mut parser = Parser::default();
    loop {
        let mut input = &mut scratch[at..end];
        loop {
            match parser.next(&mut input, limits) {
                Ok(None) => break,
                Ok(Some(event)) => {
                    let is_close = matches!(event, Event::Close { .. });
                    if let Some(answer) = answer(&event) {
                        stream.write_all(&answer).context("write an answer")?;
                    }
                    if is_close {
                        return Ok(());
                    }
                }
                Err(violation) => {
                    let close = close_frame(violation.close_code(), &violation.to_string());
                    return stream.write_all(&close).context("write a close");
                }
            }
        }
        at = 0;
        end = stream.read(scratch).context("read frames")?;
        if end == 0 {
            return Ok(());
        }
    }
}

fn answer(event: &Event<'_>) -> Option<Bytes> {
    match event {
        Event::Text(text) => Some(frame(0x81, text.as_bytes())),
        Event::Binary(bytes) => Some(frame(0x82, bytes)),
        Event::Ping(payload) => Some(pong_frame(payload)),
        Event::Pong(_) => None,
        Event::Close { code, .. } => Some(echo_close_frame(*code)),
    }
}

/// Lets the last frame arrive: closing a socket that has unread bytes would reset it.
fn linger(stream: &mut TcpStream, scratch: &mut [u8]) -> Result<()> {
    if stream.shutdown(Shutdown::Write).is_err() {
        return Ok(());
    }
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    while matches!(stream.read(scratch), Ok(read) if read > 0) {}
    Ok(())
}
