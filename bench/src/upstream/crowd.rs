//! A crowd that posts about all teams alike and that nobody times, for as long as somebody listens:
//! as lines, as server-sent events, and as messages of a WebSocket.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fastwebsockets::{Frame, OpCode, upgrade};
use futures_lite::stream;

use super::Shared;
use super::posts::{KEEP_ALIVE_NS, TURN};
use super::trouble::Listening;
use crate::schedule::{Plan, team_name};
use crate::sys;

/// What a listener that doesn't read misses of the crowd, beyond this much of its posts.
const BEHIND_S_MAX: f64 = 1.0;
/// Bytes of a post: its text, and what services put around it.
const POST_BYTES: usize = 500;

/// What a crowd says, over and over.
const SAID: &str = "that was never a corner, and everybody in row Z has seen it";
/// What is no post.
const JUNK: &str = "{\"id\":\"j\u{0},\"text\":[}\n";

/// How posts are put on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON object a line.
    Lines,
    /// Server-sent events.
    Events,
    /// Text messages of a WebSocket.
    Messages,
}

/// A crowd that is listened to.
struct Crowd {
    shared: Arc<Shared>,
    form: Form,
    /// Posts that have been written, or were missed.
    written: u64,
    said_ns: u64,
    listening: Listening,
}

/// `GET /crowd`: so many posts a second about all teams, while the schedule is played.
pub async fn lines(State(shared): State<Arc<Shared>>) -> Response {
    stream(shared, Form::Lines, "application/x-ndjson")
}

/// `GET /crowd-events`: the same as events.
pub async fn events(State(shared): State<Arc<Shared>>) -> Response {
    stream(shared, Form::Events, "text/event-stream")
}

/// `GET /crowd-messages`: the same over a WebSocket.
pub async fn messages(State(shared): State<Arc<Shared>>, mut request: Request) -> Response {
    let Some(mut crowd) = Crowd::join(shared, Form::Messages) else { return later() };
    let Ok((answer, upgraded)) = upgrade::upgrade(&mut request) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    tokio::spawn(async move {
        let Ok(mut socket) = upgraded.await else { return };
        // The client's pongs are never read: a few bytes a second, for as long as a run.
        while let Some(text) = crowd.next().await {
            let ping = || Frame::new(true, OpCode::Ping, None, (&b""[..]).into());
            let posts = text.lines().map(|post| Frame::text(post.as_bytes().into()));
            for frame in posts.chain(text.is_empty().then(ping)) {
                // Whoever has gone is not written to.
                if socket.write_frame(frame).await.is_err() {
                    return;
                }
            }
        }
    });
    answer.map(Body::new)
}

fn stream(shared: Arc<Shared>, form: Form, content_type: &'static str) -> Response {
    let Some(crowd) = Crowd::join(shared, form) else { return later() };
    let body = stream::unfold(crowd, |mut crowd| async move {
        let mut text = crowd.next().await?;
        text.push('\n');
        Some((Ok::<_, Infallible>(Bytes::from(text)), crowd))
    });
    ([(header::CONTENT_TYPE, content_type)], Body::from_stream(body)).into_response()
}

fn later() -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response()
}

impl Crowd {
    /// With a new listener; `None` where it is told to come later.
    fn join(shared: Arc<Shared>, form: Form) -> Option<Self> {
        let listening = Listening::new(&shared, form);
        if listening.is_refused() {
            return None;
        }
        let written = shared.plan.get().map_or(0, |plan| due_posts(&shared, plan));
        Some(Self { shared, form, written, said_ns: sys::now_ns(), listening })
    }

    /// What is due, empty as a sign of life; `None` once it says no more.
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::time::sleep(TURN).await;
            if self.listening.is_over() {
                return None;
            }
            let text = self.due();
            let is_silent = sys::now_ns() > self.said_ns + KEEP_ALIVE_NS;
            if (text.is_empty() && !is_silent) || self.listening.is_stalled() {
                continue;
            }
            self.said_ns = sys::now_ns();
            return Some(text);
        }
    }

    /// What is due and hasn't been written.
    fn due(&mut self) -> String {
        let Some(plan) = self.shared.plan.get() else { return String::new() };
        let due = due_posts(&self.shared, plan);
        let behind_max = (self.shared.sources.crowd_posts_per_s * BEHIND_S_MAX) as u64;
        let from = self.written.max(due.saturating_sub(behind_max));
        self.written = due.max(self.written);
        let mut text = String::with_capacity((due.saturating_sub(from) as usize) * POST_BYTES);
        for number in from..due {
            let is_event = self.form == Form::Events;
            text += if is_event { "data: " } else { "" };
            match self.listening.is_junk(number) {
                true => text += JUNK,
                false => write_post(&mut text, number, self.shared.teams),
            }
            text += if is_event { "\n" } else { "" };
        }
        text
    }
}

/// Posts that the crowd has written by now.
fn due_posts(shared: &Shared, plan: &Plan) -> u64 {
    let now_ns = sys::now_ns().min(plan.schedule.end_ns());
    let passed_s = now_ns.saturating_sub(plan.schedule.start_ns) as f64 / 1e9;
    (passed_s * shared.sources.crowd_posts_per_s) as u64
}

/// A post about one of `teams`, a line.
fn write_post(text: &mut String, number: u64, teams: u32) {
    let at = text.len();
    let team = team_name((number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32 % teams.max(1));
    let _ = write!(
        text,
        r#"{{"id":"c{number}","text":"{team}! {SAID} {number}","lang":"en","user":"fan{}","more":""#,
        number % 5_000
    );
    let filler = POST_BYTES.saturating_sub(text.len() - at + 3);
    text.extend(std::iter::repeat_n('.', filler));
    text.push_str("\"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_a_line_of_json_about_a_team() {
        let mut text = String::new();
        (0..3).for_each(|number| write_post(&mut text, number, 4));
        for line in text.lines() {
            assert_eq!(line.len() + 1, POST_BYTES);
            let post: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(post["text"].as_str().unwrap().starts_with("t00"));
        }
        assert_eq!(text.lines().count(), 3);
    }
}
