//! A fake social upstream: a stream of posts as lines, server-sent events or WebSocket messages,
//! with a switch for each fault that such a stream can have (FAULTS 29).
//!
//! It speaks HTTP and WebSocket by hand, so that it can do everything wrong: cut characters in two,
//! fall silent, repeat itself, hang up, tell us off.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use socket2::SockRef;

/// How it says what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line each.
    Lines,
    /// Server-sent events, numbered, called `post`.
    Events,
    /// WebSocket text messages.
    Socket,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lines, Self::Events, Self::Socket];
}

/// What it does with connections that are opened from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StreamFault {
    /// It says what it is told to.
    #[default]
    None,
    /// It answers this status, and how long to stay away.
    Status(u16, Option<&'static str>),
    /// It sends whoever asks somewhere else.
    Redirect,
    /// It answers a page.
    WrongType,
    /// It ends the stream after so many posts.
    EndAfter(usize),
    /// It resets the connection after so many posts.
    ResetAfter(usize),
    /// It opens the stream, and says nothing at all.
    Silence,
    /// It opens the stream, and sends nothing but keep-alives.
    KeepAlive,
    /// It sends so many keep-alives, and ends the stream.
    EndAfterKeepAlives(usize),
    /// It cuts each post in the middle of its first character of several bytes, and takes a break.
    CutCharacters,
}

impl StreamFault {
    /// All of them by name, for people.
    pub const NAMED: [(&str, Self); 11] = [
        ("none", Self::None),
        ("status", Self::Status(503, None)),
        ("retry-after", Self::Status(420, Some("5"))),
        ("redirect", Self::Redirect),
        ("wrong-type", Self::WrongType),
        ("end", Self::EndAfter(2)),
        ("reset", Self::ResetAfter(2)),
        ("silence", Self::Silence),
        ("keep-alive", Self::KeepAlive),
        ("end-after-keep-alives", Self::EndAfterKeepAlives(3)),
        ("cut-characters", Self::CutCharacters),
    ];
}

/// What is said: a post, or raw bytes into the stream.
#[derive(Clone, Debug)]
enum Said {
    Post(String),
    Raw(Vec<u8>),
}

#[derive(Default)]
struct State {
    fault: StreamFault,
    said: Vec<Said>,
    /// Posts that a connection gets again which asks to go on from somewhere.
    repeats: usize,
    heads: Vec<(Instant, String)>,
    /// What WebSocket clients have sent: opcode and payload.
    heard: Vec<(u8, Vec<u8>)>,
    open: usize,
    /// Connections that were opened before this number's turn are to end.
    turn: u64,
}

struct Shared {
    form: Form,
    state: Mutex<State>,
    news: Condvar,
    is_over: AtomicBool,
}

/// A running stream.
pub struct Stream {
    shared: Arc<Shared>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Stream {
    /// One that has said nothing.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(form: Form) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (state, news) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { form, state, news, is_over: AtomicBool::new(false) });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if of_thread.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let of_connection = Arc::clone(&of_thread);
                // It ends with its peer, or soon after the end.
                std::thread::spawn(move || drop(of_connection.serve(stream)));
            }
        });
        Self { shared, address, thread: Some(thread) }
    }

    /// Where it streams.
    pub fn url(&self) -> String {
        let scheme = if self.shared.form == Form::Socket { "ws" } else { "http" };
        format!("{scheme}://{}/posts", self.address)
    }

    /// Says a post to whoever listens.
    pub fn say(&self, post: &str) {
        self.push([Said::Post(post.into())]);
    }

    /// Says many at once.
    pub fn say_all(&self, posts: impl IntoIterator<Item = String>) {
        self.push(posts.into_iter().map(Said::Post));
    }

    /// Writes bytes as they are: into the stream, or as a WebSocket text message.
    pub fn write(&self, bytes: &[u8]) {
        self.push([Said::Raw(bytes.into())]);
    }

    /// From the next connection on it does this.
    pub fn set_fault(&self, fault: StreamFault) {
        self.shared.lock().fault = fault;
    }

    /// Ends all connections.
    pub fn hang_up(&self) {
        self.shared.lock().turn += 1;
        self.shared.news.notify_all();
    }

    /// Who asks to go on from somewhere gets the last so many posts again.
    pub fn set_repeats(&self, posts: usize) {
        self.shared.lock().repeats = posts;
    }

    /// Requests it has read, and when.
    pub fn heads(&self) -> Vec<(Instant, String)> {
        self.shared.lock().heads.clone()
    }

    /// What WebSocket clients have sent: opcode and payload.
    pub fn heard(&self) -> Vec<(u8, Vec<u8>)> {
        self.shared.lock().heard.clone()
    }

    /// Streams that are open.
    pub fn open(&self) -> usize {
        self.shared.lock().open
    }

    fn push(&self, said: impl IntoIterator<Item = Said>) {
        self.shared.lock().said.extend(said);
        self.shared.news.notify_all();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.shared.news.notify_all();
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, mut to: TcpStream) -> io::Result<()> {
        to.set_nodelay(true)?;
        let head = read_head(&mut to)?;
        let (fault, next) = {
            let mut state = self.lock();
            state.heads.push((Instant::now(), head.clone()));
            let asks = ["since_id=", "backfill_minutes=", "last-event-id:"];
            let again = if asks.iter().any(|it| head.contains(it)) { state.repeats } else { 0 };
            (state.fault.clone(), state.said.len().saturating_sub(again))
        };
        if !self.open(&mut to, &head, &fault)? {
            return Ok(());
        }
        self.lock().open += 1;
        let ended = self.stream(&mut to, &fault, next);
        self.lock().open -= 1;
        ended
    }

    /// `false`: there is no stream.
    fn open(
        self: &Arc<Self>,
        to: &mut TcpStream,
        head: &str,
        fault: &StreamFault,
    ) -> io::Result<bool> {
        let none = |status: &str, more: &str| {
            format!("HTTP/1.1 {status}\r\n{more}content-length: 0\r\nconnection: close\r\n\r\n")
        };
        let refused = match fault {
            StreamFault::Status(status, None) => Some(none(&format!("{status} No"), "")),
            StreamFault::Status(status, Some(after)) => {
                Some(none(&format!("{status} No"), &format!("retry-after: {after}\r\n")))
            }
            StreamFault::Redirect => Some(none("302 Found", "location: /elsewhere\r\n")),
            StreamFault::WrongType => Some(none("200 OK", "content-type: text/html\r\n")),
            _ => None,
        };
        if let Some(refused) = refused {
            to.write_all(refused.as_bytes())?;
            return Ok(false);
        }
        let kind = match self.form {
            Form::Lines => "application/x-ndjson",
            Form::Events => "text/event-stream; charset=utf-8",
            Form::Socket => {
                let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
                let key =
                    format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.unwrap_or("").trim());
                let accept = STANDARD.encode(Sha1::digest(key));
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                     connection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
                );
                to.write_all(head.as_bytes())?;
                let (this, from) = (Arc::clone(self), to.try_clone()?);
                // It ends with its connection.
                std::thread::spawn(move || drop(this.listen(from)));
                return Ok(true);
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n");
        to.write_all(head.as_bytes()).map(|()| true)
    }

    fn stream(&self, to: &mut TcpStream, fault: &StreamFault, mut next: usize) -> io::Result<()> {
        let (mut posts, mut kept) = (0, 0);
        let turn = self.lock().turn;
        while !self.is_over.load(Ordering::Relaxed) {
            let said = self.news(next);
            if self.lock().turn != turn {
                return to.shutdown(Shutdown::Both);
            }
            if *fault == StreamFault::Silence {
                continue;
            }
            if said.is_empty() && *fault == StreamFault::KeepAlive {
                to.write_all(self.keep_alive())?;
            }
            if let StreamFault::EndAfterKeepAlives(n) = *fault {
                if kept == n {
                    return to.shutdown(Shutdown::Both);
                }
                kept += 1;
                to.write_all(self.keep_alive())?;
            }
            let mut out = Vec::new();
            for said in said {
                let ends = matches!(fault, StreamFault::EndAfter(n) if *n == posts);
                let resets = matches!(fault, StreamFault::ResetAfter(n) if *n == posts);
                if ends || resets {
                    to.write_all(&out)?;
                    std::thread::sleep(Duration::from_millis(50));
                    if self.form == Form::Socket {
                        // Its listener holds the connection as well.
                        return to.shutdown(Shutdown::Both);
                    }
                    let linger = resets.then_some(Duration::ZERO);
                    return SockRef::from(&*to).set_linger(linger);
                }
                posts += usize::from(matches!(said, Said::Post(_)));
                out.extend(self.bytes(next, &said));
                next += 1;
                if *fault == StreamFault::CutCharacters {
                    let cut = out.iter().position(|byte| *byte > 0x7f).map_or(0, |at| at + 1);
                    to.write_all(&out[..cut])?;
                    std::thread::sleep(Duration::from_millis(30));
                    out.drain(..cut);
                }
            }
            to.write_all(&out)?;
        }
        Ok(())
    }

    /// What was said from `next` on; waits a little for it.
    fn news(&self, next: usize) -> Vec<Said> {
        let mut state = self.lock();
        if state.said.len() <= next {
            let wait = Duration::from_millis(50);
            let waited = self.news.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.said.get(next..).unwrap_or_default().to_vec()
    }

    fn bytes(&self, n: usize, said: &Said) -> Vec<u8> {
        match (self.form, said) {
            (Form::Lines, Said::Post(post)) => format!("{post}\r\n").into_bytes(),
            (Form::Events, Said::Post(post)) => {
                format!("event: post\nid: {n}\ndata: {post}\n\n").into_bytes()
            }
            (Form::Socket, Said::Post(post)) => frame(1, post.as_bytes()),
            (Form::Socket, Said::Raw(bytes)) => frame(1, bytes),
            (_, Said::Raw(bytes)) => bytes.clone(),
        }
    }

    fn keep_alive(&self) -> &'static [u8] {
        match self.form {
            Form::Lines => b"\r\n",
            Form::Events => b":\n\n",
            Form::Socket => &[0x89, 2, b'h', b'i'],
        }
    }

    /// Reads a client's frames, masked and below 126 bytes.
    fn listen(&self, mut from: TcpStream) -> io::Result<()> {
        loop {
            let mut head = [0; 6];
            from.read_exact(&mut head)?;
            let mut payload = vec![0; usize::from(head[1] & 0x7f)];
            from.read_exact(&mut payload)?;
            payload.iter_mut().zip(head[2..].iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            self.lock().heard.push((head[0] & 0x0f, payload));
        }
    }
}

/// A server's frame.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..65_536 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

/// A request's head; names of headers come in lower case.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
