//! A fake upstream: an HTTP server that answers what it is told to, with a switch for each fault
//! that a device can have (FAULTS 26). Streams have one of their own: [`stream`](crate::stream).
//!
//! It speaks HTTP/1.1 by hand, so that it can do everything wrong: late, cut short, too much, of
//! the wrong kind, reset in the middle.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

/// What it does with the next requests. All but `Gzip` is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Answers well.
    #[default]
    None,
    /// Answers after so long.
    Slow(Duration),
    /// Sends its answer a byte at a time, every 20 ms.
    Drip,
    /// Answers with this status.
    Status(u16),
    /// Answers with this status, and asks to be left alone for so many seconds.
    RetryAfter(u16, u64),
    /// Packs its answer.
    Gzip,
    /// Sends whoever asks to itself.
    RedirectLoop,
    /// Answers 10 MiB.
    Huge,
    /// Answers 10 KB that unpack to 10 MiB.
    GzipBomb,
    /// Answers HTML.
    WrongType,
    /// Answers what is no JSON.
    BadJson,
    /// Ends its answer in the middle.
    Truncated,
    /// Resets the connection instead of answering.
    Reset,
    /// Ends the connection instead of answering.
    HangUp,
}

impl Fault {
    /// One of each kind.
    pub const ALL: [Self; 11] = [
        Self::Slow(Duration::from_millis(700)),
        Self::Drip,
        Self::Status(500),
        Self::RedirectLoop,
        Self::Huge,
        Self::GzipBomb,
        Self::WrongType,
        Self::BadJson,
        Self::Truncated,
        Self::Reset,
        Self::HangUp,
    ];

    /// All of them by name, for people.
    pub const NAMED: [(&str, Self); 14] = [
        ("none", Self::None),
        ("slow", Self::Slow(Duration::from_millis(700))),
        ("drip", Self::Drip),
        ("status", Self::Status(500)),
        ("retry-after", Self::RetryAfter(429, 5)),
        ("gzip", Self::Gzip),
        ("redirect-loop", Self::RedirectLoop),
        ("huge", Self::Huge),
        ("gzip-bomb", Self::GzipBomb),
        ("wrong-type", Self::WrongType),
        ("bad-json", Self::BadJson),
        ("truncated", Self::Truncated),
        ("reset", Self::Reset),
        ("hang-up", Self::HangUp),
    ];
}

struct Shared {
    fault: Mutex<Fault>,
    body: Mutex<String>,
    requests: AtomicU64,
    connections: AtomicU64,
    /// Requests that it is busy with, and the most there were.
    busy: AtomicU64,
    busy_most: AtomicU64,
    /// The head of the last request.
    head: Mutex<String>,
    is_over: AtomicBool,
}

/// A running upstream.
pub struct Upstream {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Answers `body`, JSON, to every GET.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            fault: Mutex::default(),
            body: Mutex::new(body.into()),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            busy_most: AtomicU64::new(0),
            head: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let of_connection = Arc::clone(&of_thread);
                // It ends with its peer, or at the next request after the end.
                std::thread::spawn(move || drop(of_connection.serve(stream)));
            }
        });
        Self { shared, address, thread: Some(thread) }
    }

    /// Where it is asked.
    pub fn url(&self) -> String {
        format!("http://{}/values", self.address)
    }

    /// From now on it does this.
    pub fn set_fault(&self, fault: Fault) {
        *lock(&self.shared.fault) = fault;
    }

    /// From now on it answers `body`.
    pub fn set_body(&self, body: &str) {
        *lock(&self.shared.body) = body.into();
    }

    /// Requests that it has read.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Connections that it has taken.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The most requests that it was busy with at once.
    pub fn busy_most(&self) -> u64 {
        self.shared.busy_most.load(Ordering::Relaxed)
    }

    /// The head of the last request.
    pub fn head(&self) -> String {
        lock(&self.shared.head).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(head) = read_head(&mut stream)? else { return Ok(()) };
            *lock(&self.head) = head;
            self.requests.fetch_add(1, Ordering::Relaxed);
            let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
            self.busy_most.fetch_max(busy, Ordering::Relaxed);
            let fault = *lock(&self.fault);
            let body = lock(&self.body).clone();
            let goes_on = answer(&mut stream, fault, &body);
            self.busy.fetch_sub(1, Ordering::Relaxed);
            if !goes_on? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// `None`: the peer has ended.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// `false`: nothing more comes on this connection.
fn answer(stream: &mut TcpStream, fault: Fault, body: &str) -> io::Result<bool> {
    let json = |body: &[u8]| whole("200 OK", "content-type: application/json\r\n", body);
    match fault {
        Fault::None => stream.write_all(&json(body.as_bytes()))?,
        Fault::Slow(time) => {
            std::thread::sleep(time);
            stream.write_all(&json(body.as_bytes()))?;
        }
        Fault::Drip => {
            for byte in json(body.as_bytes()) {
                stream.write_all(&[byte])?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Fault::Status(status) => stream.write_all(&whole(&format!("{status} No"), "", b""))?,
        Fault::RetryAfter(status, seconds) => {
            let head = format!("retry-after: {seconds}\r\n");
            stream.write_all(&whole(&format!("{status} No"), &head, b""))?;
        }
        Fault::Gzip => stream.write_all(&packed(body.as_bytes()))?,
        Fault::RedirectLoop => {
            stream.write_all(&whole("302 Found", "location: /values\r\n", b""))?;
        }
        Fault::Huge => stream.write_all(&json(&vec![b' '; 10 << 20]))?,
        Fault::GzipBomb => stream.write_all(&packed(&vec![b' '; 10 << 20]))?,
        Fault::WrongType => {
            let page = b"<html>maintenance</html>";
            stream.write_all(&whole("200 OK", "content-type: text/html\r\n", page))?;
        }
        Fault::BadJson => stream.write_all(&json(b"{\"readings\":[NaN}"))?,
        Fault::Truncated => {
            let whole = json(body.as_bytes());
            stream.write_all(&whole[..whole.len() - body.len() / 2])?;
            return Ok(false);
        }
        Fault::Reset => {
            SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            return Ok(false);
        }
        Fault::HangUp => return Ok(false),
    }
    Ok(true)
}

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn packed(body: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(body).expect("memory");
    let head = "content-type: application/json\r\ncontent-encoding: gzip\r\n";
    whole("200 OK", head, &packer.finish().expect("memory"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
