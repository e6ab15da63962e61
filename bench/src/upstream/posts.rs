//! Streams of posts, a JSON object a line, for as long as somebody listens.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_lite::stream;
use serde::Deserialize;

use super::Shared;
use super::trouble::Listening;
use crate::schedule::{Plan, team_name};
use crate::sys;

/// Between two looks at what is due.
const TURN: Duration = Duration::from_millis(5);
/// A stream that says nothing sends an empty line so often.
const KEEP_ALIVE_NS: u64 = 1_000_000_000;
/// What a listener that doesn't read misses of the crowd, beyond this much of its posts.
const BEHIND_S_MAX: f64 = 1.0;
/// Bytes of a crowd's post: its text, and what services put around it.
const POST_BYTES: usize = 500;

/// What a crowd says, over and over.
const SAID: &str = "that was never a corner, and everybody in row Z has seen it";

/// Where a stream goes on.
#[derive(Deserialize)]
pub struct Since {
    /// The last post that came.
    since_id: Option<String>,
}

/// `GET /posts`: what the schedule says, each post when it is due.
pub async fn scheduled(State(shared): State<Arc<Shared>>, Query(since): Query<Since>) -> Response {
    let last = since.since_id.and_then(|id| id.strip_prefix('p')?.parse::<u32>().ok());
    let state = (shared, last, sys::now_ns());
    lines(stream::unfold(state, move |(shared, last, mut said_ns)| async move {
        loop {
            let (text, until) = due_posts(&shared, last);
            if !text.is_empty() || sys::now_ns() > said_ns + KEEP_ALIVE_NS {
                said_ns = sys::now_ns();
                let text = if text.is_empty() { "\n".into() } else { text };
                return Some((Ok::<_, Infallible>(Bytes::from(text)), (shared, until, said_ns)));
            }
            tokio::time::sleep(TURN).await;
        }
    }))
}

/// The posts after event `last` that are due, and the last of them.
fn due_posts(shared: &Shared, last: Option<u32>) -> (String, Option<u32>) {
    let (mut text, mut until) = (String::new(), last);
    let (Some(plan), Some(posts)) = (shared.plan.get(), shared.posts.get()) else {
        return (text, until);
    };
    let now_ns = sys::now_ns();
    let from = posts.partition_point(|n| Some(*n) <= last);
    for n in posts[from..].iter().take_while(|n| plan.due_ns(**n) <= now_ns) {
        let (team, data) = (team_name(plan.team(*n)), plan.data(*n));
        // Writing to a string can't fail.
        let _ = writeln!(text, r#"{{"id":"p{n}","text":"{team}!","d":{data}}}"#);
        until = Some(*n);
    }
    (text, until)
}

/// A crowd that is listened to.
struct Crowd {
    shared: Arc<Shared>,
    /// Posts that have been written, or were missed.
    written: u64,
    listening: Listening,
}

/// `GET /crowd`: so many posts a second about all teams, while the schedule is played.
pub async fn crowd(State(shared): State<Arc<Shared>>) -> Response {
    let listening = Listening::new(&shared);
    if listening.is_refused() {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response();
    }
    let written = shared.plan.get().map_or(0, |plan| due_of_crowd(&shared, plan));
    let state = (Crowd { shared, written, listening }, sys::now_ns());
    lines(stream::unfold(state, move |(mut crowd, mut said_ns)| async move {
        loop {
            tokio::time::sleep(TURN).await;
            if crowd.listening.is_over() {
                return None;
            }
            let mut text = crowd.due();
            let is_silent = sys::now_ns() > said_ns + KEEP_ALIVE_NS;
            if (text.is_empty() && !is_silent) || crowd.listening.is_stalled() {
                continue;
            }
            said_ns = sys::now_ns();
            text.push('\n');
            return Some((Ok::<_, Infallible>(Bytes::from(text)), (crowd, said_ns)));
        }
    }))
}

impl Crowd {
    /// What is due and hasn't been written.
    fn due(&mut self) -> String {
        let Some(plan) = self.shared.plan.get() else { return String::new() };
        let due = due_of_crowd(&self.shared, plan);
        let behind_max = (self.shared.sources.crowd_posts_per_s * BEHIND_S_MAX) as u64;
        let from = self.written.max(due.saturating_sub(behind_max));
        self.written = due.max(self.written);
        let mut text = String::with_capacity((due.saturating_sub(from) as usize) * POST_BYTES);
        for number in from..due {
            match self.listening.is_junk(number) {
                true => text += "{\"id\":\"j\u{0},\"text\":[}\n",
                false => write_post(&mut text, number, self.shared.teams),
            }
        }
        text
    }
}

/// Posts that the crowd has written by now.
fn due_of_crowd(shared: &Shared, plan: &Plan) -> u64 {
    let now_ns = sys::now_ns().min(plan.schedule.end_ns());
    let passed_s = now_ns.saturating_sub(plan.schedule.start_ns) as f64 / 1e9;
    (passed_s * shared.sources.crowd_posts_per_s) as u64
}

/// A post of the crowd about one of `teams`.
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

fn lines<S>(stream: S) -> Response
where
    S: futures_lite::Stream<Item = Result<Bytes, Infallible>> + Send + 'static,
{
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
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
