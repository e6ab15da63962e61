//! `POST /dlq/replay` on the admin port.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use touchline_ingest::clock::system_clock;
use touchline_store::dead::{Filter, State as LetterState};

use super::answer::{Ask, ReplayError, Wanted};
use super::which::Which;
use crate::http::problem;
use crate::limits::REPLAY_LETTERS_MAX;
use crate::running::Appliance;

/// What is asked for: letters by id, or those that a filter means.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// These.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<String>>,
    /// Those, the oldest first; parked ones unless it names another state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Which>,
    /// With a filter: go on after this letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Also what was replayed before.
    #[serde(default)]
    pub again: bool,
    /// Also what lies so far back that the log can't tell whether it was taken by another way.
    #[serde(default)]
    pub late: bool,
}

impl ReplayRequest {
    fn wanted(self) -> Result<Wanted, String> {
        match (self.ids, self.filter) {
            (Some(ids), None) if self.after.is_none() => match ids.len() {
                0..=REPLAY_LETTERS_MAX => Ok(Wanted::Ids(ids)),
                count => Err(format!("{count} ids: {REPLAY_LETTERS_MAX} fit one request")),
            },
            (None, Some(which)) => {
                let filter = which.read(system_clock())?;
                let state = filter.state.or(Some(LetterState::Parked));
                Ok(Wanted::Meeting(Filter { state, after: self.after, ..filter }))
            }
            _ => Err("Name letters: {\"ids\":[...]}, or {\"filter\":{...}}.".into()),
        }
    }
}

/// Replays letters. A browser names the page that asks: no page may.
pub async fn replay(
    State(appliance): State<Arc<Appliance>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if headers.contains_key(header::ORIGIN) {
        let detail = "A web page may not replay letters; use `touchline dlq replay`.";
        return problem(StatusCode::FORBIDDEN, "forbidden", detail);
    }
    let bad = |detail: &str| problem(StatusCode::BAD_REQUEST, "bad_request", detail);
    let request: ReplayRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return bad(&error.to_string()),
    };
    let ask = Ask::new(request.again, request.late);
    let wanted = match request.wanted() {
        Ok(wanted) => wanted,
        Err(detail) => return bad(&detail),
    };
    let run = move || appliance.replays.run(&wanted, ask);
    match tokio::task::spawn_blocking(run).await {
        // Nothing came of it, and the log is why.
        Ok(Ok(run)) if run.stopped.is_some() && run.results.is_empty() => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            (status, [(header::RETRY_AFTER, "5")], Json(run)).into_response()
        }
        Ok(Ok(run)) => Json(run).into_response(),
        Ok(Err(error @ ReplayError::UnderWay)) => {
            problem(StatusCode::CONFLICT, "replay_under_way", &error.to_string())
        }
        Ok(Err(error @ ReplayError::Store(_))) => {
            problem(StatusCode::INTERNAL_SERVER_ERROR, "store", &error.to_string())
        }
        Err(_) => {
            let detail = "The replay failed on our side; see the log.";
            problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
        }
    }
}
