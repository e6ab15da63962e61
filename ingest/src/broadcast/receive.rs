//! One webhook from its head to its answer.
//!
//! The order of the checks is the order of their price, and of how much a stranger may cause:
//! partner, content type, length, bytes, signature; only then does it take one of the partner's
//! places, is the body parsed, the rate charged, the routes counted and the log asked.
//!
//! # Invariants
//! - Nothing of a body enters the log unless all of it may.
//! - 202 is said only after the log has called back with success; a reply that doesn't come in
//!   time, or never, is 503 (R14), and the partner's repeat finds out by being counted as a
//!   duplicate.
//! - A body's share of the budget is held until the log has replied, also when the partner has hung
//!   up meanwhile.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use governor::clock::{Clock, DefaultClock};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use touchline_core::event::Event;
use touchline_core::log::{AppendError, Outcome};
use touchline_core::proxy::ClientAddress;
use touchline_core::time::Timestamp;

use super::item::Context;
use super::signature::Claim;
use super::state::{BroadcastState, Desk, Inner, unknown_partner};
use super::{body, letters, refusal};
use crate::correlation::Correlation;
use crate::problem::{Code, Problem};
use crate::tally::Tally;

/// `POST /v1/ingest/broadcast/{partner}`
pub async fn receive(
    State(state): State<BroadcastState>,
    Path(partner): Path<String>,
    request: Request<axum::body::Body>,
) -> Response {
    let inner = &*state.inner;
    let correlation = Correlation::of_request(&request);
    let client = request.extensions().get::<ClientAddress>().copied();
    let desk = inner.desk(&partner);
    let mut response = match take(inner, desk.as_deref(), request, &correlation).await {
        Ok(tally) => (StatusCode::ACCEPTED, Json(tally)).into_response(),
        Err(problem) => {
            let stats = desk.as_ref().map_or(&inner.unknown, |desk| &desk.stats);
            stats.count_error(problem.code);
            log_refusal(inner, stats.source(), &problem, &correlation, client);
            answer(&problem, &correlation)
        }
    };
    correlation.stamp(response.headers_mut());
    response
}

/// Any other method.
pub async fn refuse_method(
    State(state): State<BroadcastState>,
    request: Request<axum::body::Body>,
) -> Response {
    let correlation = Correlation::of_request(&request);
    let problem = Problem::new(Code::MethodNotAllowed, "send webhooks by POST");
    state.inner.unknown.count_error(problem.code);
    let mut response = answer(&problem, &correlation);
    response.headers_mut().insert("allow", HeaderValue::from_static("POST"));
    correlation.stamp(response.headers_mut());
    response
}

fn answer(problem: &Problem, correlation: &Correlation) -> Response {
    let mut response = problem.respond(correlation.id());
    if matches!(problem.code, Code::BodyTooLarge | Code::BodyTimeout | Code::BodyIncomplete) {
        // Part of the body may still be under way: nothing after it on this connection can be
        // believed.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn take(
    inner: &Inner,
    desk: Option<&Desk>,
    request: Request<axum::body::Body>,
    correlation: &Correlation,
) -> Result<Tally, Problem> {
    let desk = desk.ok_or_else(unknown_partner)?;
    if desk.partner.secrets().is_empty() {
        let detail = "this partner is polled and has no secret to sign with";
        return Err(Problem::new(Code::UnknownPartner, detail));
    }
    let (head, body) = request.into_parts();
    check_type(&head.headers)?;
    check_length(&head.headers, inner.options.body_bytes_max)?;
    let scheme = &desk.partner.scheme;
    let claim = Claim::of(&head.headers, scheme)?;
    let options = &inner.options;
    let held =
        body::read(body, &inner.budget, options.body_bytes_max, options.body_timeout).await?;
    let now = inner.now();
    claim.verify(scheme, desk.partner.secrets(), &held.bytes, now)?;
    // Only now: strangers must not take a partner's places.
    let _place = desk.places.try_acquire().map_err(|_| {
        let detail = format!("this partner may have {} under way", desk.partner.requests_max);
        Problem::new(Code::TooManyRequests, detail).retry_after(1)
    })?;
    desk.stats.count_body(held.bytes.len());
    let raw = held.bytes.clone();
    let tally = take_signed(inner, desk, held, now, correlation).await.inspect_err(|problem| {
        park(inner, desk, raw, problem, now, correlation);
    })?;
    tracing::debug!(
        correlation = correlation.id(),
        trace = correlation.trace(),
        source = desk.partner.name(),
        webhook_id = claim.id.as_deref().unwrap_or("-"),
        accepted = tally.accepted,
        duplicates = tally.duplicates,
        too_old = tally.too_old,
        "webhook is durable"
    );
    Ok(tally)
}

async fn take_signed(
    inner: &Inner,
    desk: &Desk,
    held: body::Held,
    now: Timestamp,
    correlation: &Correlation,
) -> Result<Tally, Problem> {
    let source = desk.partner.name();
    let trace = correlation.traceparent().map(Arc::from);
    let context = Context { source, correlation: correlation.id(), trace: trace.as_ref(), now };
    let events = desk.partner.events_of(&held.bytes, context)?;
    drop(held.bytes);
    charge(desk, &events, now)?;
    append(inner, desk, events, held.share, now).await
}

/// Keeps a body that its partner can't mend by sending it again.
fn park(
    inner: &Inner,
    desk: &Desk,
    raw: Bytes,
    problem: &Problem,
    now: Timestamp,
    correlation: &Correlation,
) {
    if !letters::is_worth_keeping(problem) {
        return;
    }
    let is_kept = desk.letters.admit(&raw, now);
    desk.stats.count_letter(is_kept);
    if is_kept {
        let source = desk.partner.name();
        inner.dead.park(letters::letter(source, raw, problem, correlation.id(), now));
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |detail| Err(Problem::new(Code::UnsupportedType, detail));
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return refuse("send the body as it was signed, without content-encoding");
    }
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return refuse("content-type must be application/json");
    };
    let mut parts = value.split(';').map(str::trim);
    if !is_json(parts.next().unwrap_or_default()) {
        return refuse("content-type must be application/json");
    }
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, charset)) if name.eq_ignore_ascii_case("charset") => {
            charset.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    if parts.all(utf8) { Ok(()) } else { refuse("JSON is UTF-8; leave the charset away") }
}

/// `application/json`, or one of its kinds, such as `application/cloudevents+json`.
fn is_json(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let suffixed = kind.strip_prefix("application/").and_then(|it| it.strip_suffix("+json"));
    kind == "application/json" || suffixed.is_some_and(|kind| !kind.is_empty())
}

/// Refuses a length that is declared too large before anything else is looked at.
fn check_length(headers: &HeaderMap, bytes_max: usize) -> Result<(), Problem> {
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match declared {
        Some(bytes) if bytes > bytes_max as u64 => Err(body::too_large(bytes_max)),
        _ => Ok(()),
    }
}

/// Charges the partner's rate and notes its routes (R23): after the signature, so that nobody can
/// spend another's.
pub(super) fn charge(desk: &Desk, events: &[Event], now: Timestamp) -> Result<(), Problem> {
    let count = u32::try_from(events.len()).ok().and_then(NonZeroU32::new);
    if let Some(Err(until)) = count.and_then(|count| desk.rate.check_n(count).ok()) {
        let wait = until.wait_time_from(DefaultClock::default().now());
        let detail = format!("this partner may send {} events/s", desk.partner.events_per_s);
        return Err(Problem::new(Code::RateLimited, detail).retry_after(ceil_s(wait)));
    }
    desk.routes.admit(events, desk.partner.routes_max, now).map_err(|wait| {
        let detail = format!("this partner may use {} routes an hour", desk.partner.routes_max);
        Problem::new(Code::TooManyRoutes, detail).retry_after(ceil_s(wait))
    })
}

fn ceil_s(wait: std::time::Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

async fn append(
    inner: &Inner,
    desk: &Desk,
    events: Vec<Event>,
    share: Option<OwnedSemaphorePermit>,
    now: Timestamp,
) -> Result<Tally, Problem> {
    let (tell, told) = oneshot::channel::<Result<Tally, AppendError>>();
    let stats = Arc::clone(&desk.stats);
    let reply = move |result: Result<Vec<Outcome>, AppendError>| {
        let result = result.map(|outcomes| Tally::of(&outcomes));
        if let Ok(tally) = &result {
            stats.count(*tally, Instant::now());
        }
        drop(share);
        // The partner may have hung up; what it sent counts all the same.
        let _ = tell.send(result);
    };
    inner.log.append(events, now, Box::new(reply));
    match tokio::time::timeout(inner.options.append_timeout, told).await {
        Ok(Ok(result)) => result.map_err(|error| refusal::of(&error)),
        Ok(Err(_)) => Err(refusal::of(&AppendError::Unknown("the log dropped the batch".into()))),
        Err(_) => Err(refusal::of(&AppendError::Unknown("the log did not answer in time".into()))),
    }
}

fn log_refusal(
    inner: &Inner,
    source: &str,
    problem: &Problem,
    correlation: &Correlation,
    client: Option<ClientAddress>,
) {
    let Some(kept_back) = inner.refusal_lines.pass(inner.now()) else { return };
    let (code, detail) = (problem.code.as_str(), &problem.detail);
    let (correlation, trace) = (correlation.id(), correlation.trace());
    let client = client.map(|ClientAddress(address)| address.to_string());
    let client = client.as_deref();
    // A line's level is part of its place in the code, so there are two places.
    macro_rules! tell {
        ($level:ident, $what:literal) => {
            tracing::$level!(correlation, trace, client, source, code, detail, kept_back, $what)
        };
    }
    match problem.code.status().is_server_error() {
        true => tell!(warn, "webhook could not be taken"),
        false => tell!(info, "webhook was refused"),
    }
}
