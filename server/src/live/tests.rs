//! The live state as a page sees it: over its router, fed by its own thread.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use touchline_core::log::{Lane, token};
use tower::ServiceExt as _;

use super::testing::{MemoryLog, record};
use super::*;

fn fact(n: usize) -> Record {
    let data = format!(
        r#"{{"match":"m1","home":"ars","away":"che","minute":{n},"score":{{"home":{n},"away":0}},"team":"ars","player":"P{n}"}}"#
    );
    record(0, &format!("e{n}"), "goal", &data)
}

fn figures() -> FigureSource {
    let figures = Figures { sockets: 3, p99_ms: Some(1.234), ..Figures::default() };
    Box::new(move || figures.clone())
}

fn feed(tap: &mut LiveTap, record: Record) {
    let (lane, seq) = (record.position.lane, record.position.seq);
    tap.durable(vec![record], &[Span { lane, from: seq, next: seq + 1 }]);
}

async fn get(live: &Arc<Live>, path: &str, tag: Option<&str>) -> Response {
    let mut request = Request::get(path);
    if let Some(tag) = tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    router(live.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn json(response: Response) -> Value {
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// Asks until `done`, ten seconds at most.
async fn eventually(live: &Arc<Live>, done: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_000 {
        let response = get(live, "/v1/live", None).await;
        if response.status() == StatusCode::OK {
            let body = json(response).await;
            if done(&body) {
                return body;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the live state never got there");
}

#[tokio::test]
async fn a_page_opened_in_the_middle_is_shown_the_day_and_where_to_go_on() {
    let log = Arc::new(MemoryLog::new(1));
    (0..60).for_each(|n| drop(log.push(0, fact(n))));
    let (live, mut tap) = Live::start(log.clone(), StreamAddress::Port(8080), figures()).unwrap();
    feed(&mut tap, log.push(0, fact(60)));
    // Lost on the way, as when the channel is full.
    log.push(0, fact(61));
    feed(&mut tap, log.push(0, fact(62)));
    let body = eventually(&live, |body| body["matches"][0]["minute"] == 62).await;
    assert_eq!(token::decode_mark(body["mark"].as_str().unwrap()).unwrap().next(Lane(0)), 63);
    assert_eq!(body["stream"], serde_json::json!({"port": 8080}));
    assert_eq!(body["teams"][0], serde_json::json!({"id": "ars", "name": "ars"}));
    assert_eq!(body["matches"][0]["score"], serde_json::json!({"home": 62, "away": 0}));
    assert_eq!(body["matches"][0]["scorers"].as_array().unwrap().len(), 63);
    let events = body["events"].as_array().unwrap();
    assert_eq!(events.len(), 50);
    assert_eq!((&events[49]["id"], &events[49]["op"]), (&"e62".into(), &"event".into()));
    assert_eq!(body["panel"]["sockets"], 3);
    assert_eq!(body["panel"]["p99_ms"], 1.23);
    assert_eq!(body["panel"]["spread_ms"], Value::Null);
    live.stop();
}

#[tokio::test]
async fn an_answer_that_has_not_changed_is_not_sent_again() {
    let log = Arc::new(MemoryLog::new(1));
    log.push(0, fact(1));
    let (live, _tap) = Live::start(log, StreamAddress::Port(1), figures()).unwrap();
    eventually(&live, |_| true).await;
    let first = get(&live, "/v1/teams", None).await;
    let tag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(json(first).await["teams"].as_array().unwrap().len(), 2);
    let again = get(&live, "/v1/teams", Some(&tag)).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(get(&live, "/v1/teams", Some("\"other\"")).await.status(), StatusCode::OK);
    live.stop();
}

#[tokio::test]
async fn before_the_log_has_been_read_nothing_is_claimed() {
    let shared = Shared { snapshot: ArcSwap::default(), stop: Arc::default() };
    let live = Arc::new(Live { shared: Arc::new(shared), thread: Mutex::new(None) });
    let response = get(&live, "/v1/live", None).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert!(!live.is_ready());
}

#[test]
fn the_logs_thread_never_waits_for_a_reader_that_is_busy() {
    let (sender, receiver) = sync_channel(TAP_BATCHES_MAX);
    let mut tap = LiveTap { sender, waiting_bytes: Arc::default() };
    for n in 0..2 * TAP_BATCHES_MAX {
        let mut record = fact(n);
        record.position.seq = n as u64;
        feed(&mut tap, record);
    }
    assert_eq!(receiver.try_iter().count(), TAP_BATCHES_MAX);
}

#[test]
fn it_stops_at_once_also_while_a_read_is_not_answered() {
    let log = Arc::new(MemoryLog::new(1));
    log.push(0, fact(1));
    log.is_stuck.store(true, Ordering::Relaxed);
    let (live, _tap) = Live::start(log.clone(), StreamAddress::Port(1), figures()).unwrap();
    while log.unanswered.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begin = Instant::now();
    live.stop();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

/// Nobody receives: as while the worker waits for the log.
#[test]
fn what_waits_between_the_threads_is_bounded_in_bytes() {
    let (sender, receiver) = sync_channel(TAP_BATCHES_MAX);
    let waiting_bytes = Arc::<AtomicUsize>::default();
    let mut tap = LiveTap { sender, waiting_bytes: Arc::clone(&waiting_bytes) };
    let large = format!(r#"{{"pad":"{}"}}"#, "x".repeat(300_000));
    (0..TAP_BATCHES_MAX).for_each(|n| feed(&mut tap, record(n as u64, "e", "goal", &large)));
    let held: usize = receiver.try_iter().map(|batch| batch.bytes).sum();
    assert!(held > TAP_BYTES_MAX / 2 && held <= TAP_BYTES_MAX, "{held}");
    assert_eq!(waiting_bytes.load(Ordering::Relaxed), held, "what was dropped doesn't count");
    // Whoever comes first may be larger than all that may wait.
    waiting_bytes.store(0, Ordering::Relaxed);
    let huge = format!(r#"{{"pad":"{}"}}"#, "x".repeat(TAP_BYTES_MAX));
    feed(&mut tap, record(0, "e", "goal", &huge));
    assert!(receiver.try_recv().is_ok());
}
