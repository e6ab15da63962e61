//! A head has one reading, and everything else gets an answer that says why.

use proptest::prelude::*;

use super::*;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn origins() -> OriginPolicy {
    OriginPolicy { board_port: Some(8081), exact: vec!["https://live.example".into()] }
}

/// A good head, with `extra` headers behind it.
fn head(line: &str, extra: &str) -> String {
    format!(
        "{line}\r\nHost: goals.example:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\n{KEY}{extra}\r\n"
    )
}

fn good(extra: &str) -> String {
    head("GET /v1/stream?teams=ars HTTP/1.1", extra)
}

fn feed(bytes: &[u8], size: usize) -> Progress {
    let mut handshake = Handshake::default();
    for chunk in bytes.chunks(size) {
        match handshake.feed(chunk, &origins()) {
            Progress::NeedMore => assert!(handshake.heap_bytes() <= 2 * REQUEST_HEAD_BYTES_MAX),
            done => return done,
        }
    }
    Progress::NeedMore
}

/// Whole, byte by byte and in pieces of 7: the same refusal, or (`None`) an upgrade.
fn check(head: impl AsRef<[u8]>, want: Option<Refusal>) {
    let head = head.as_ref();
    let shown = String::from_utf8_lossy(&head[..head.len().min(300)]);
    for size in [head.len(), 1, 7] {
        match (feed(head, size), want) {
            (Progress::Refuse(refusal), Some(want)) => assert_eq!(refusal, want, "{shown}"),
            (Progress::Upgrade { .. }, None) => {}
            (got, _) => panic!("{got:?} in pieces of {size}: {shown}"),
        }
    }
}

fn request(head: &str) -> Request {
    match feed(head.as_bytes(), head.len()) {
        Progress::Upgrade { request, .. } => request,
        other => panic!("{other:?}: {head}"),
    }
}

#[test]
fn a_good_head_is_answered_by_the_example_of_the_rfc() {
    let request = request(&good(""));
    assert_eq!(request.query, "teams=ars");
    assert_eq!((request.origin.as_deref(), request.has_subprotocol), (None, false));
    let want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert_eq!(String::from_utf8(request.response()).unwrap(), want);
}

#[test]
fn what_browsers_and_proxies_send_is_understood() {
    check(good("User-Agent: Mozilla/5.0\r\nCookie: a=b\r\nX-Name: J\u{f6}rg\r\n"), None);
    check(good("Content-Length: 0\r\n"), None);
    check(good("").replace("Connection: Upgrade", "connection: keep-alive, Upgrade"), None);
    check(good("").replace("Upgrade: websocket", "UPGRADE:WebSocket \t"), None);
    check(good("").replace("?teams=ars", ""), None);
    assert_eq!(request(&good("").replace("?teams=ars", "?")).query, "");
}

/// FAULTS 1, 2, 3.
#[test]
fn a_request_that_is_no_upgrade_is_told_what_is_missing() {
    use Refusal as R;
    check(head("POST /v1/stream HTTP/1.1", ""), Some(R::BadMethod));
    check(head("POST /v1/stream HTTP/1.1", "Content-Length: 12\r\n"), Some(R::BadMethod));
    check(head("get /v1/stream HTTP/1.1", ""), Some(R::BadMethod));
    check(head("GET /v1/stream HTTP/1.0", ""), Some(R::BadVersion));
    check(head("GET /v1/stream/ HTTP/1.1", ""), Some(R::NotFound));
    check(head("GET / HTTP/1.1", ""), Some(R::NotFound));
    check(head("DELETE /x HTTP/1.1", ""), Some(R::NotFound));
    check(good("").replace("Upgrade: websocket\r\n", ""), Some(R::NoUpgrade));
    check(good("").replace("Upgrade: websocket", "Upgrade: h2c"), Some(R::NoUpgrade));
    check(good("").replace("Connection: Upgrade\r\n", ""), Some(R::NoConnectionUpgrade));
    for version in ["", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n"] {
        let head = good("").replace("Sec-WebSocket-Version: 13\r\n", version);
        check(head, Some(R::BadWebSocketVersion));
    }
    check(good("Sec-WebSocket-Version: 13\r\n"), Some(R::BadWebSocketVersion));
    for key in ["", "Sec-WebSocket-Key: \r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"] {
        check(good("").replace(KEY, key), Some(R::BadKey));
    }
    check(good("").replace("ub25jZQ==", "ub25jZQ"), Some(R::BadKey));
    check(good(KEY), Some(R::BadKey));
}

/// FAULTS 4.
#[test]
fn sizes_are_limited_and_memory_with_them() {
    let uri = |len: usize| format!("GET /v1/stream?{} HTTP/1.1", "a".repeat(len - 11));
    check(head(&uri(URI_BYTES_MAX), ""), None);
    check(head(&uri(URI_BYTES_MAX + 1), ""), Some(Refusal::LongUri));
    check(head(&uri(20_000), ""), Some(Refusal::LongUri));
    check("GET /".to_owned() + &"a".repeat(9_000), Some(Refusal::LongUri));
    check("G".repeat(9_000), Some(Refusal::LargeHead));
    let filler = |total: usize| {
        let bare = good("X: \r\n").len();
        good(&format!("X: {}\r\n", "x".repeat(total - bare)))
    };
    check(filler(REQUEST_HEAD_BYTES_MAX), None);
    check(filler(REQUEST_HEAD_BYTES_MAX + 1), Some(Refusal::LargeHead));
    check(filler(REQUEST_HEAD_BYTES_MAX + 2), Some(Refusal::LargeHead));
    check(filler(100_000), Some(Refusal::LargeHead));
    check(good(&"A: b\r\n".repeat(59)), None);
    check(good(&"A: b\r\n".repeat(60)), Some(Refusal::LargeHead));
}

#[test]
fn one_large_read_is_not_kept_beyond_the_limit() {
    let mut handshake = Handshake::default();
    assert_eq!(handshake.feed(b"GET /v1/stream HTTP/1.1\r\nX: ", &origins()), Progress::NeedMore);
    let refused = Progress::Refuse(Refusal::LargeHead);
    assert_eq!(handshake.feed(&vec![b'x'; 60_000], &origins()), refused);
    assert!(handshake.heap_bytes() <= 2 * REQUEST_HEAD_BYTES_MAX, "{}", handshake.heap_bytes());
    // What lies beyond the limit changes nothing.
    let beyond = [vec![b'x'; REQUEST_HEAD_BYTES_MAX + 1], vec![0]].concat();
    assert_eq!(Handshake::default().feed(&beyond, &origins()), refused);
}

/// FAULTS 5.
#[test]
fn a_head_that_two_readers_could_read_in_two_ways_is_refused() {
    use Refusal as R;
    let malformed = [
        good("X: a\rb\r\n"),
        good("X: a\nY: b\r\n"),
        good("X: a\r\n b\r\n"),
        good("X: a\r\n\tb\r\n"),
        good("X : a\r\n"),
        good("X: a\0\r\n"),
        good("X: a\x1b[2J\r\n"),
        good("X: a\x7f\r\n"),
        good("no colon\r\n"),
        good(": no name\r\n"),
        good(" X: folded\r\n"),
        format!("\r\n{}", good("")),
        format!(" {}", good("")),
        good("").replace("GET ", "GET  "),
        good("").replace("HTTP/1.1", "HTTP/2.0"),
        good("").replace("/v1", "http://goals.example/v1"),
        good("").replace("ars", "ars#part"),
        good("").replace("ars", "ärs"),
        good("").replace("\r\n", "\n"),
    ];
    for head in malformed {
        check(head, Some(R::Malformed));
    }
    check([0x16, 0x03, 0x01, 0x02, 0x00, 0x01], Some(R::Malformed));
    for framing in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: +0\r\n",
        "Content-Length: 5\r\n",
    ] {
        check(good(framing), Some(R::BadFraming));
    }
    check(head("POST /v1/stream HTTP/1.1", "Content-Length: 1, 1\r\n"), Some(R::BadFraming));
    check(head("POST /v1/stream HTTP/1.1", "Transfer-Encoding: x\r\n"), Some(R::BadFraming));
    check(good("Host: goals.example:8080\r\n"), Some(R::BadHost));
    for host in ["", "Host: \r\n", "Host: a b\r\n", "Host: user@b\r\n", "Host: a/b\r\n"] {
        check(good("").replace("Host: goals.example:8080\r\n", host), Some(R::BadHost));
    }
}

/// FAULTS 7.
#[test]
fn what_follows_the_head_is_left_for_the_frame_parser() {
    let bytes = [good("").as_bytes(), b"\x89\x80GET "].concat();
    for size in [bytes.len(), 10, 1] {
        let mut handshake = Handshake::default();
        let mut fed = 0;
        for chunk in bytes.chunks(size) {
            if let Progress::Upgrade { taken, .. } = handshake.feed(chunk, &origins()) {
                assert_eq!(fed + taken, good("").len(), "in pieces of {size}");
                fed = usize::MAX;
                break;
            }
            fed += chunk.len();
        }
        assert_eq!(fed, usize::MAX, "it was upgraded");
    }
}

/// FAULTS 8; the policy itself is tested beside it.
#[test]
fn a_page_of_a_foreign_origin_is_refused() {
    check(good("Origin: http://goals.example:8081\r\n"), None);
    check(good("Origin: https://live.example\r\n"), None);
    for origin in ["https://evil.example", "null", "", "https://live.example, null"] {
        check(good(&format!("Origin: {origin}\r\n")), Some(Refusal::BadOrigin));
    }
    let twice = "Origin: https://live.example\r\n".repeat(2);
    check(good(&twice), Some(Refusal::BadOrigin));
}

/// FAULTS 11, 12.
#[test]
fn offers_are_taken_or_passed_over_in_linear_time() {
    let offer = |offers: &str| {
        request(&good(&format!("Sec-WebSocket-Protocol: {offers}\r\n"))).has_subprotocol
    };
    assert!(offer("touchline.v1"));
    assert!(offer("chat, touchline.v1 ,x"));
    assert!(!offer("touchline.v2, TOUCHLINE.V1"));
    assert!(!offer(&" ".repeat(7_000)));
    assert!(!offer(&",".repeat(7_000)));
    let selected = request(&good("Sec-WebSocket-Protocol: a, touchline.v1\r\n")).response();
    let selected = String::from_utf8(selected).unwrap();
    assert!(selected.contains("\r\nSec-WebSocket-Protocol: touchline.v1\r\n"));
    for params in ["", "; client_max_window_bits=7", "; x=\"", "; server_max_window_bits=16, , ;"] {
        let extra = format!("Sec-WebSocket-Extensions: permessage-deflate{params}\r\n");
        let response = String::from_utf8(request(&good(&extra)).response()).unwrap();
        assert!(!response.contains("Extensions"), "{params}");
    }
}

#[test]
fn load_balancers_get_their_answer() {
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /healthz?x HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /healthz HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(feed(head.as_bytes(), head.len()), Progress::Healthz);
    }
    check("GET /healthz HTTP/1.1\r\n\r\n", Some(Refusal::BadHost));
    check("POST /healthz HTTP/1.1\r\nHost: h\r\n\r\n", Some(Refusal::BadMethod));
}

#[test]
fn a_token_in_the_url_stays_out_of_debug_output() {
    let shown = format!("{:?}", request(&good("").replace("ars", "ars&token=secret")));
    assert!(!shown.contains("secret"), "{shown}");
}

proptest! {
    #[test]
    fn any_split_of_a_head_gives_the_same_verdict(
        noise in "[ -~\r\n\t]{0,40}",
        at in 0usize..200,
        size in 1usize..50,
    ) {
        let mut head = good("Origin: http://localhost\r\n");
        head.insert_str(at.min(head.len()), &noise);
        let whole = feed(head.as_bytes(), head.len());
        match (whole, feed(head.as_bytes(), size)) {
            (Progress::Upgrade { request: a, .. }, Progress::Upgrade { request: b, .. }) => {
                prop_assert_eq!(a, b);
            }
            (whole, pieces) => prop_assert_eq!(whole, pieces),
        }
    }

    #[test]
    fn garbage_is_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
        feed(&bytes, 11);
        let mut behind = good("").into_bytes();
        behind.truncate(30);
        behind.extend(bytes);
        feed(&behind, behind.len());
    }
}
