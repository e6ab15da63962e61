//! What only shows on a real connection: slow bodies, lying lengths, hang-ups, and twenty at once.

mod support;

use std::time::{Duration, Instant};

use support::{Desk, Mode, PATH, SECRET, event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use touchline_ingest::broadcast::{Secret, router, sign};

/// Serves `desk` on a port of its own until the test ends.
async fn serve(desk: &Desk) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(desk.state.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The head of a signed request; `length` is the line that tells the body's length.
fn head(desk: &Desk, body: &[u8], length: &str) -> String {
    let signature = sign(&Secret::parse(SECRET).unwrap(), "msg-1", desk.now_s(), body);
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nwebhook-id: msg-1\r\n\
         webhook-timestamp: {}\r\nwebhook-signature: {signature}\r\n{length}\r\n\r\n",
        desk.now_s()
    )
}

/// Everything the server says until it closes or falls silent for two seconds.
async fn hear(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(n @ 1..)) =
        tokio::time::timeout(Duration::from_secs(2), stream.read(&mut chunk)).await
    {
        heard.extend_from_slice(&chunk[..n]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

async fn talk(address: std::net::SocketAddr, bytes: &[u8]) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let heard = hear(&mut stream).await;
    let closed = matches!(
        tokio::time::timeout(Duration::from_millis(100), stream.read(&mut [0])).await,
        Ok(Ok(0) | Err(_))
    );
    (heard, closed)
}

#[tokio::test]
async fn fault_27_a_declared_length_past_the_limit_is_413_before_a_byte_is_read() {
    let desk = Desk::new();
    let address = serve(&desk).await;
    let began = Instant::now();
    let (heard, closed) =
        talk(address, head(&desk, b"", "content-length: 1048577").as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 413 "), "{heard}");
    assert!(closed && began.elapsed() < Duration::from_secs(2), "the connection is of no more use");
    let (heard, _) =
        talk(address, head(&desk, b"", "content-length: 99999999999999999999").as_bytes()).await;
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert_eq!(desk.state.in_flight_bytes(), 0);
}

#[tokio::test]
async fn fault_27_a_chunked_body_past_the_limit_is_413_where_it_passes_it() {
    let desk = Desk::new();
    let address = serve(&desk).await;
    let mut bytes = head(&desk, b"", "transfer-encoding: chunked").into_bytes();
    for _ in 0..17 {
        bytes.extend_from_slice(b"10000\r\n");
        bytes.extend_from_slice(&vec![b' '; 0x10000]);
        bytes.extend_from_slice(b"\r\n");
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close while we still write.
    let _ = stream.write_all(&bytes).await;
    let heard = hear(&mut stream).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 413 "), "{heard}");
    assert_eq!(desk.errors("skyline", "body_too_large"), 1);
    assert_eq!(desk.state.in_flight_bytes(), 0);
}

#[tokio::test]
async fn fault_27_a_chunked_body_without_a_length_is_taken() {
    let desk = Desk::new();
    let address = serve(&desk).await;
    let body = event("1").to_string();
    let (front, back) = body.as_bytes().split_at(20);
    let mut bytes = head(&desk, body.as_bytes(), "transfer-encoding: chunked").into_bytes();
    for part in [front, back, b""] {
        bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    let (heard, closed) = talk(address, &bytes).await;
    assert!(heard.starts_with("HTTP/1.1 202 "), "{heard}");
    assert!(heard.ends_with(r#"{"accepted":1,"duplicates":0,"too_old":0}"#), "{heard}");
    assert!(!closed, "the connection can be used again");
}

#[tokio::test]
async fn fault_27_a_slow_body_is_408_at_its_deadline_however_it_drips() {
    let desk = Desk::with(|options| options.body_timeout = Duration::from_millis(300), |_| {});
    let address = serve(&desk).await;
    let body = event("1").to_string();
    let length = format!("content-length: {}", body.len());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head(&desk, body.as_bytes(), &length).as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut read, mut write) = stream.into_split();
    let drip = tokio::spawn(async move {
        for byte in body.into_bytes() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
        }
    });
    let mut heard = vec![0; 4096];
    let n = read.read(&mut heard).await.unwrap();
    let heard = String::from_utf8_lossy(&heard[..n]);
    assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
    assert!(heard.contains("connection: close"), "{heard}");
    assert!(began.elapsed() < Duration::from_millis(1_500), "{:?}", began.elapsed());
    drip.abort();
    assert!(desk.log.events().is_empty());
    assert_eq!(desk.state.in_flight_bytes(), 0);
}

#[tokio::test]
async fn fault_27_a_body_shorter_than_it_says_is_never_taken() {
    let desk = Desk::new();
    let address = serve(&desk).await;
    let body = event("1").to_string();
    let length = format!("content-length: {}", body.len() + 1);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head(&desk, body.as_bytes(), &length).as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let heard = hear(&mut stream).await;
    assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(desk.log.events().is_empty());
}

#[tokio::test]
async fn fault_27_a_body_longer_than_it_says_is_cut_where_it_said() {
    let desk = Desk::new();
    let address = serve(&desk).await;
    let body = event("1").to_string();
    let length = format!("content-length: {}", body.len() - 1);
    let bytes = head(&desk, body.as_bytes(), &length) + &body;
    let (heard, closed) = talk(address, bytes.as_bytes()).await;
    assert!(
        heard.starts_with("HTTP/1.1 401 "),
        "the bytes that count aren't those signed: {heard}"
    );
    assert!(heard.contains("HTTP/1.1 400 ") && closed, "what follows is no request: {heard}");
    assert!(desk.log.events().is_empty());
}

#[tokio::test]
async fn fault_27_a_body_with_two_lengths_is_refused() {
    let desk = Desk::new();
    let address = serve(&desk).await;
    let body = event("1").to_string();
    let len = body.len();
    for lengths in [
        format!("content-length: {len}\r\ncontent-length: {}", len + 1),
        format!("content-length: {len}, {}", len + 1),
        format!("content-length: +{len}"),
        "transfer-encoding: chunked, gzip".to_owned(),
    ] {
        let bytes = head(&desk, body.as_bytes(), &lengths) + &body;
        let (heard, _) = talk(address, bytes.as_bytes()).await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{lengths}: {heard}");
    }
    assert!(desk.log.events().is_empty());
}

/// FAULTS 27: the same event twenty times at once has one effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_27_the_same_event_twenty_times_at_once_is_accepted_once() {
    let desk = Desk::new();
    desk.log.set(Mode::TakeLater(Duration::from_millis(30)));
    let address = serve(&desk).await;
    let body = event("1").to_string();
    let bytes = head(
        &desk,
        body.as_bytes(),
        &format!("connection: close\r\ncontent-length: {}", body.len()),
    ) + &body;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let bytes = bytes.clone();
            tokio::spawn(async move { talk(address, bytes.as_bytes()).await.0 })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        let heard = task.await.unwrap();
        assert!(heard.starts_with("HTTP/1.1 202 "), "{heard}");
        accepted += usize::from(heard.contains(r#""accepted":1"#));
    }
    assert_eq!((accepted, desk.log.events().len()), (1, 1));
    assert_eq!(desk.state.stats()[0].duplicates(), 19);
}
