//! What a partner answers that is asked: its latest results, and in trouble whatever else partners
//! answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::sys;

/// Results that an answer holds.
const SHOWN: u64 = 10;
/// Between two new ones.
const NEW_EVERY_NS: u64 = 1_000_000_000;
/// How long it keeps an ailment.
const AILMENT_NS: u64 = 5_000_000_000;
/// Longer than anybody waits for a partner.
const TOO_SLOW: Duration = Duration::from_secs(3);

/// `GET /results`. They are about a team that nobody follows.
pub async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    let now_ns = sys::now_ns();
    let last = now_ns / NEW_EVERY_NS;
    let results: Vec<String> = (last - SHOWN.min(last)..last).map(|id| result(id, id)).collect();
    let mut body = format!("[{}]", results.join(","));
    if shared.sources.trouble {
        match now_ns / AILMENT_NS % 6 {
            1 => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
            2 => tokio::time::sleep(TOO_SLOW).await,
            3 => body.truncate(body.len() - 2),
            // One id, with other content each second.
            4 => body = format!("[{}]", result(0, last)),
            5 => body = format!(r#"[{{"id":"unfit-{last}","teams":[7]}},17]"#),
            _ => {}
        }
    }
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn result(id: u64, goals: u64) -> String {
    format!(
        r#"{{"id":"result-{id}","teams":["quiet"],"type":"result","data":{{"goals":{goals}}}}}"#
    )
}
