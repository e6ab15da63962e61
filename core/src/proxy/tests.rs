//! Headers as balancers send them, and everything that isn't one.

use proptest::prelude::*;

use super::*;

/// A header of version 2: command and family, addresses and values.
fn header(kind: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[kind, family], &length, body].concat()
}

/// 203.0.113.7:40000 to 10.0.0.1:443.
const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0x9c, 0x40, 1, 0xbb];

fn v6() -> Vec<u8> {
    let from: Ipv6Addr = "2001:db8::7".parse().unwrap();
    let to: Ipv6Addr = "2001:db8::1".parse().unwrap();
    [&from.octets()[..], &to.octets(), &[0x9c, 0x40, 1, 0xbb]].concat()
}

/// Fed in pieces; answers the verdict and how many bytes of the whole were taken.
fn feed(bytes: &[u8], piece: usize) -> (ProxyProgress, usize) {
    let mut parser = ProxyHeader::default();
    let mut before = 0;
    for chunk in bytes.chunks(piece) {
        match parser.feed(chunk) {
            ProxyProgress::NeedMore => before += chunk.len(),
            ProxyProgress::Complete { client, taken } => {
                assert!(taken <= chunk.len());
                return (ProxyProgress::Complete { client, taken: 0 }, before + taken);
            }
            refused @ ProxyProgress::Refuse(_) => return (refused, 0),
        }
        assert!((1..=PROXY_HEADER_BYTES_MAX).contains(&parser.wanted()));
        assert!(parser.heap_bytes() <= 2 * PROXY_HEADER_BYTES_MAX);
    }
    (ProxyProgress::NeedMore, before)
}

/// Whole, byte by byte and in pieces of 7; what follows isn't touched.
fn check(bytes: &[u8], client: Option<&str>) {
    let client = client.map(|text| text.parse().unwrap());
    let all = [bytes, b"GET /v1/stream HTTP/1.1\r\n"].concat();
    for piece in [all.len(), 1, 7] {
        let want = (ProxyProgress::Complete { client, taken: 0 }, bytes.len());
        assert_eq!(feed(&all, piece), want, "in pieces of {piece}: {bytes:x?}");
    }
}

fn check_refused(bytes: &[u8], error: BadProxyHeader) {
    for piece in [bytes.len(), 1, 7] {
        assert_eq!(feed(bytes, piece).0, ProxyProgress::Refuse(error), "{bytes:x?}");
    }
}

#[test]
fn a_header_names_the_client_or_leaves_it_to_the_connection() {
    check(&header(0x21, 0x11, &V4), Some("203.0.113.7:40000"));
    check(&header(0x21, 0x21, &v6()), Some("[2001:db8::7]:40000"));
    // A health check of the proxy's own, with and without addresses.
    check(&header(0x20, 0x00, b""), None);
    check(&header(0x20, 0x11, &V4), None);
    // A client whose address the proxy doesn't know, or of a kind that no port of ours has.
    check(&header(0x21, 0x00, b""), None);
    check(&header(0x21, 0x00, b"whatever"), None);
    check(&header(0x21, 0x12, &V4), None);
    check(&header(0x21, 0x22, &v6()), None);
    check(&header(0x21, 0x31, &[0; 216]), None);
}

#[test]
fn values_are_passed_by_and_their_checksum_is_kept() {
    // As a Network Load Balancer sends them: an endpoint's id, and padding.
    let values = [&V4[..], &[0xea, 0, 4, 1, b'v', b'p', b'c', 4, 0, 2, 0, 0]].concat();
    check(&header(0x21, 0x11, &values), Some("203.0.113.7:40000"));
    let mut with_sum = header(0x21, 0x11, &[&V4[..], &[3, 0, 4, 0, 0, 0, 0, 4, 0, 1, 0]].concat());
    let sum = crc32c::crc32c(&with_sum).to_be_bytes();
    with_sum[31..35].copy_from_slice(&sum);
    check(&with_sum, Some("203.0.113.7:40000"));
    with_sum[34] ^= 1;
    check_refused(&with_sum, BadProxyHeader::Checksum);
}

#[test]
fn what_is_no_header_is_refused_as_early_as_it_shows() {
    use BadProxyHeader::{Long, Misfit, Missing, Unknown};
    check_refused(b"GET /v1/stream HTTP/1.1\r\n", Missing);
    check_refused(b"PROXY TCP4 203.0.113.7 10.0.0.1 40000 443\r\n", Missing);
    check_refused(b"\r\n\r\n\0\r\nQUIT\r", Missing);
    check_refused(&header(0x11, 0x11, &V4), Unknown);
    check_refused(&header(0x22, 0x11, &V4), Unknown);
    check_refused(&header(0x21, 0x41, &V4), Unknown);
    check_refused(&header(0x21, 0x13, &V4), Unknown);
    check_refused(&header(0x21, 0x11, &V4[..11]), Misfit);
    check_refused(&header(0x21, 0x21, &V4), Misfit);
    check_refused(&header(0x21, 0x31, &[0; 215]), Misfit);
    check_refused(&header(0x21, 0x11, &[&V4[..], &[4, 0]].concat()), Misfit);
    check_refused(&header(0x21, 0x11, &[&V4[..], &[4, 0, 2, 0]].concat()), Misfit);
    check_refused(&header(0x21, 0x11, &[&V4[..], &[3, 0, 3, 0, 0, 0]].concat()), Misfit);
    // Judged from its length alone: nothing of it is waited for.
    let long = header(0x21, 0x11, &[0; PROXY_HEADER_BYTES_MAX]);
    check_refused(&long[..HEAD_BYTES], Long);
}

#[test]
fn the_longest_header_is_taken_and_half_of_one_is_waited_for() {
    let rest = PROXY_HEADER_BYTES_MAX - HEAD_BYTES - V4.len() - 3;
    let value = [&[4][..], &u16::try_from(rest).unwrap().to_be_bytes(), &vec![0; rest]].concat();
    let longest = header(0x21, 0x11, &[&V4[..], &value].concat());
    assert_eq!(longest.len(), PROXY_HEADER_BYTES_MAX);
    check(&longest, Some("203.0.113.7:40000"));
    for length in [1, 12, 13, 15, 16, 20, longest.len() - 1] {
        assert_eq!(feed(&longest[..length], 5), (ProxyProgress::NeedMore, length));
    }
}

#[test]
fn who_reads_no_more_than_is_wanted_leaves_the_clients_bytes_alone() {
    for header in [header(0x21, 0x21, &v6()), header(0x20, 0, b""), header(0x21, 0x11, &V4)] {
        let all = [&header[..], b"GET /"].concat();
        let mut parser = ProxyHeader::default();
        let mut read = 0;
        loop {
            let next = read + parser.wanted();
            let progress = parser.feed(&all[read..next]);
            read = next;
            if progress != ProxyProgress::NeedMore {
                break;
            }
        }
        assert_eq!(read, header.len());
    }
}

#[test]
fn networks_are_read_one_way_and_hold_what_they_say() {
    let parse = |text: &str| text.parse::<Network>();
    let holds = |network: &str, address: &str| {
        parse(network).unwrap().contains(address.parse::<IpAddr>().unwrap())
    };
    assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
    assert!(holds("127.0.0.1", "127.0.0.1") && !holds("127.0.0.1", "127.0.0.2"));
    assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"), "the same, mapped");
    assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::"));
    assert!(holds("0.0.0.0/0", "203.0.113.7") && !holds("0.0.0.0/0", "2001:db8::1"));
    assert!(holds("::/0", "203.0.113.7") && holds("::/0", "2001:db8::1"));
    for text in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8", "::1/08"]
    {
        assert_eq!(parse(text), Err(BadNetwork::Syntax), "{text}");
    }
    assert_eq!(parse("10.0.0.1/8"), Err(BadNetwork::Base));
    for text in ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::/0"] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    let list = |texts: &[&str]| {
        TrustedProxies::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    };
    let proxies = list(&["10.0.0.0/8", "127.0.0.1"]).unwrap();
    assert!(proxies.contains("127.0.0.1".parse().unwrap()) && !proxies.is_empty());
    assert!(!TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
    assert_eq!(list(&["10.0.0.0/8", "x"]), Err(("x".into(), BadNetwork::Syntax)));
    assert!(matches!(list(&["10.0.0.0"; 257]), Err((_, BadNetwork::Many))));
}

proptest! {
    #[test]
    fn a_header_means_the_same_however_it_is_cut(
        kind in 0x1fu8..0x24,
        family in 0u8..0x42,
        body in proptest::collection::vec(any::<u8>(), 0..300),
        flip in proptest::option::of((0usize..16, any::<u8>())),
        rest in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec(1usize..50, 1..40),
    ) {
        let mut bytes = header(kind, family, &body);
        let length = bytes.len();
        if let Some((at, with)) = flip {
            bytes[at] ^= with;
        }
        bytes.extend(rest);
        let (whole, taken) = feed(&bytes, bytes.len());
        let mut parser = ProxyHeader::default();
        let mut left = &bytes[..];
        let mut cuts = cuts.into_iter().cycle();
        let cut = loop {
            let (now, later) = left.split_at(cuts.next().unwrap().min(left.len()));
            match parser.feed(now) {
                ProxyProgress::NeedMore if later.is_empty() => break ProxyProgress::NeedMore,
                ProxyProgress::NeedMore => left = later,
                ProxyProgress::Complete { client, taken: of_it } => {
                    prop_assert_eq!(bytes.len() - left.len() + of_it, taken);
                    break ProxyProgress::Complete { client, taken: 0 };
                }
                refused => break refused,
            }
        };
        prop_assert_eq!(cut, whole);
        if flip.is_none_or(|(_, with)| with == 0) && taken > 0 {
            prop_assert_eq!(taken, length);
        }
    }
}
