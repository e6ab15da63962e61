//! The plaza: posts as they are written, to whoever listens, and again to whoever comes back.
//!
//! The last [`POSTS_KEPT_MAX`] posts are remembered. A stream is a task that sends what its client
//! lacks, then waits; a client that doesn't read fills its channel and later goes on with what is
//! still remembered.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use super::Shared;
use super::fans::{Fans, Post};
use super::trouble::{JUNK, JUNK_ONE_IN, REPEATED, STREAM_LIFE};
use crate::demo::now;
use crate::limits::demo::{FANS_TURN, KEEP_ALIVE, POSTS_KEPT_MAX, STREAM_CHUNKS_MAX};

/// The last posts, each with its number.
pub(super) struct Plaza {
    posts: Mutex<VecDeque<Post>>,
    /// Posts so far.
    written: watch::Sender<u64>,
    trouble: bool,
}

/// How posts are put on the line.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Lines,
    Events,
}

#[derive(Deserialize)]
pub(super) struct Since {
    since_id: Option<String>,
}

impl Plaza {
    pub(super) fn new(trouble: bool) -> Self {
        Self { posts: Mutex::default(), written: watch::Sender::new(0), trouble }
    }

    fn add(&self, fresh: Vec<Post>) {
        let count = fresh.len() as u64;
        let mut posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        posts.extend(fresh);
        let surplus = posts.len().saturating_sub(POSTS_KEPT_MAX);
        posts.drain(..surplus);
        self.written.send_modify(|written| *written += count);
    }

    /// The posts from number `from` on that are still remembered, and the number after them.
    fn from(&self, from: u64) -> (Vec<Post>, u64) {
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let written = *self.written.borrow();
        let first = written - posts.len() as u64;
        let skip = from.saturating_sub(first) as usize;
        (posts.iter().skip(skip).cloned().collect(), written)
    }

    /// Where a client that has `id` goes on; without one, with what comes next.
    fn place_after(&self, id: Option<&str>) -> u64 {
        let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
        let written = *self.written.borrow();
        let Some(id) = id else { return written };
        let at = posts.iter().position(|post| post.id == id);
        // An id that is forgotten: all that is left.
        let skip = at.map_or(0, |at| at + 1);
        let again = if self.trouble { REPEATED } else { 0 };
        written - posts.len() as u64 + skip.saturating_sub(again) as u64
    }
}

/// Lets the fans write, for ever.
pub(super) async fn write(shared: &Shared) {
    let mut fans = Fans::begin(now());
    loop {
        tokio::time::sleep(FANS_TURN).await;
        let Some(scene) = shared.world.scene() else { continue };
        let posts = fans.write(&scene, now());
        if !posts.is_empty() {
            shared.plaza.add(posts);
        }
    }
}

pub(super) async fn lines(
    State(shared): State<Arc<Shared>>,
    Query(since): Query<Since>,
) -> Response {
    open(shared, since.since_id, Form::Lines)
}

pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    Query(since): Query<Since>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    open(shared, last.or(since.since_id), Form::Events)
}

fn open(shared: Arc<Shared>, since: Option<String>, form: Form) -> Response {
    let (sender, chunks) = mpsc::channel(STREAM_CHUNKS_MAX);
    tokio::spawn(async move {
        let ends = Instant::now() + STREAM_LIFE;
        let send = send(&shared, since.as_deref(), form, &sender);
        if !shared.plaza.trouble {
            return send.await;
        }
        if tokio::time::timeout_at(ends, send).await.is_err() {
            // The body is cut in the middle, as when a host goes away.
            let _ = sender.send(Err(std::io::ErrorKind::ConnectionReset.into())).await;
        }
    });
    let kind = match form {
        Form::Lines => "application/x-ndjson",
        Form::Events => "text/event-stream",
    };
    ([(header::CONTENT_TYPE, kind)], Body::new(Chunks(chunks))).into_response()
}

type Sender = mpsc::Sender<std::io::Result<Bytes>>;

/// Sends posts and signs of life until the client has gone.
async fn send(shared: &Shared, since: Option<&str>, form: Form, sender: &Sender) {
    let plaza = &shared.plaza;
    let mut written = plaza.written.subscribe();
    let mut next = plaza.place_after(since);
    let mut sent = 0_u64;
    loop {
        let (posts, after) = plaza.from(next);
        next = after;
        for post in posts {
            sent += 1;
            let mut chunk = put(&post, form);
            if plaza.trouble && sent.is_multiple_of(JUNK_ONE_IN) {
                chunk.extend_from_slice(&junk(sent / JUNK_ONE_IN, form));
            }
            if sender.send(Ok(chunk.into())).await.is_err() {
                return;
            }
        }
        written.borrow_and_update();
        if *written.borrow() != next {
            continue;
        }
        if timeout(KEEP_ALIVE, written.changed()).await.is_err() {
            let alive: &'static [u8] = if form == Form::Lines { b"\n" } else { b":\n\n" };
            if sender.send(Ok(Bytes::from_static(alive))).await.is_err() {
                return;
            }
        }
    }
}

fn put(post: &Post, form: Form) -> Vec<u8> {
    let json = serde_json::to_string(post).unwrap_or_default();
    match form {
        Form::Lines => format!("{json}\n").into_bytes(),
        Form::Events => format!("id: {}\ndata: {json}\n\n", post.id).into_bytes(),
    }
}

fn junk(turn: u64, form: Form) -> Vec<u8> {
    let junk = JUNK[turn as usize % JUNK.len()];
    match form {
        Form::Lines => [junk, b"\n"].concat(),
        Form::Events => [b"data: ", junk, b"\n\n"].concat(),
    }
}

/// The body of a stream: what comes through its channel.
struct Chunks(mpsc::Receiver<std::io::Result<Bytes>>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(n: u64) -> Post {
        Post {
            id: format!("p.{n}"),
            created_at: String::new(),
            author: String::new(),
            text: String::new(),
        }
    }

    fn ids(posts: &[Post]) -> Vec<&str> {
        posts.iter().map(|post| post.id.as_str()).collect()
    }

    #[test]
    fn a_client_goes_on_after_the_post_it_names_and_in_trouble_gets_some_again() {
        for (trouble, first) in [(false, 8), (true, 8 - REPEATED as u64)] {
            let plaza = Plaza::new(trouble);
            plaza.add((0..10).map(post).collect());
            let (posts, next) = plaza.from(plaza.place_after(Some("p.7")));
            assert_eq!(ids(&posts)[0], format!("p.{first}"));
            assert_eq!((posts.len() as u64, next), (10 - first, 10));
            assert_eq!(plaza.place_after(None), 10, "whoever is new waits for what comes");
        }
    }

    #[test]
    fn posts_are_bounded_and_whoever_lags_gets_what_is_left() {
        let plaza = Plaza::new(false);
        plaza.add((0..POSTS_KEPT_MAX as u64 + 10).map(post).collect());
        let (posts, next) = plaza.from(3);
        assert_eq!((posts.len(), next), (POSTS_KEPT_MAX, POSTS_KEPT_MAX as u64 + 10));
        assert_eq!(ids(&posts)[0], "p.10");
        assert_eq!(plaza.from(plaza.place_after(Some("p.1"))).0.len(), POSTS_KEPT_MAX);
    }
}
