//! A server that follows no rules but those that a test gives it: a thread for each connection,
//! `GET /follow/TEAM` for followers and `POST /publish/TEAM` for publishers.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What the bench's key is accepted with (RFC 6455, 4.2.2).
const ACCEPT: &str = "5LBPJ+0JuaeekVPfVd/jKm08Ras=";

/// What it does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Puts it into a string of JSON.
    Escape,
    /// Encodes it.
    Base64,
    /// Makes a message of its own of it.
    Own,
    /// Sends everything twice.
    Twice,
    /// Sends everything again, a third of a second later.
    Again,
    /// Sends nothing.
    Silent,
    /// Speaks no WebSocket.
    WrongAccept,
    /// Takes what is posted, a second later.
    Late,
}

/// The server. It ends with the test's process.
pub struct Fake {
    /// Where it listens.
    pub address: SocketAddr,
}

type Followers = Arc<Mutex<HashMap<String, Vec<TcpStream>>>>;

impl Fake {
    /// Starts one.
    pub fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let followers = Followers::default();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, followers) = (stream.unwrap(), Arc::clone(&followers));
                std::thread::spawn(move || serve(&stream, manners, &followers));
            }
        });
        Self { address }
    }
}

/// Serves one connection to its end, whichever that is.
fn serve(stream: &TcpStream, manners: Manners, followers: &Followers) {
    let mut reader = BufReader::new(stream);
    while let Some((request, length)) = head(&mut reader) {
        let team = request.split(['/', ' ']).nth(3).unwrap_or_default().to_owned();
        if request.starts_with("GET") {
            let mut stream = stream.try_clone().unwrap();
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                if manners == Manners::WrongAccept { "AAAA" } else { ACCEPT }
            );
            let _ = stream.write_all(head.as_bytes());
            followers.lock().unwrap().entry(team).or_default().push(stream);
            let _ = reader.read_to_end(&mut Vec::new());
            return;
        }
        let mut body = vec![0; length];
        let mut answer = stream;
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = if manners == Manners::Late { "202 Accepted" } else { "200 OK" };
        if manners == Manners::Late {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        if answer.write_all(head.as_bytes()).is_err() {
            return;
        }
        let frames = frames(manners, &body);
        send(followers, &team, &frames);
        if manners == Manners::Again {
            let followers = Arc::clone(followers);
            std::thread::spawn(move || {
                std::thread::sleep(std::time::Duration::from_millis(333));
                send(&followers, &team, &frames);
            });
        }
    }
}

/// Sends `frames` to all followers of `team`.
fn send(followers: &Followers, team: &str, frames: &[u8]) {
    for follower in followers.lock().unwrap().entry(team.into()).or_default() {
        let _ = follower.write_all(frames);
    }
}

/// The first line of a request and the length of its body.
fn head(reader: &mut BufReader<&TcpStream>) -> Option<(String, usize)> {
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            return Some((request, length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if request.is_empty() {
            request = line.replacen("get", "GET", 1);
        }
    }
}

/// What followers get of an event.
fn frames(manners: Manners, body: &[u8]) -> Vec<u8> {
    let event = |event: Value| frame(json!({ "event": event }).to_string().as_bytes());
    match manners {
        Manners::Escape => event(String::from_utf8_lossy(body).into()),
        Manners::Base64 => event(STANDARD.encode(body).into()),
        Manners::Own => event(serde_json::from_slice(body).unwrap()),
        Manners::Twice => [frame(body), frame(body)].concat(),
        Manners::Again => frame(body),
        Manners::Silent | Manners::WrongAccept | Manners::Late => Vec::new(),
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        len @ 0..=125 => frame.push(len as u8),
        len => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}
