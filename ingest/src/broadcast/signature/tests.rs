//! Worked examples of how partners sign, computed by others than this code.

use super::*;
use crate::broadcast::scheme::SchemeText;
use crate::broadcast::secret::SecretEncoding;

const NOW: Timestamp = Timestamp(1_531_420_618_000_000);

struct Example {
    scheme: SchemeText<'static>,
    secret: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let value = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), value.parse().unwrap())
    };
    pairs.iter().map(value).collect()
}

/// GitHub's own, from its documentation.
fn github() -> Example {
    Example {
        scheme: SchemeText {
            signature_header: "X-Hub-Signature-256",
            signature_prefix: "sha256=",
            id_header: Some("x-github-delivery"),
            ..SchemeText::default()
        },
        secret: "It's a Secret to Everybody",
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        body: "Hello, World!",
    }
}

/// Slack's own, from its documentation.
fn slack() -> Example {
    Example {
        scheme: SchemeText {
            signature_header: "x-slack-signature",
            signature_prefix: "v0=",
            signed: "v0:{timestamp}:{body}",
            timestamp_header: Some("x-slack-request-timestamp"),
            ..SchemeText::default()
        },
        secret: "8f742231b10e8888abcd99yyyzzz85a5",
        headers: &[
            ("x-slack-request-timestamp", "1531420618"),
            (
                "x-slack-signature",
                "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            ),
        ],
        body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow\
               &channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner\
               &command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com\
               %2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
               &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    }
}

/// As Stripe sends while a secret rotates: two of `v1`, and a `v0` that counts for nothing.
fn stripe() -> Example {
    Example {
        scheme: SchemeText {
            signature_header: "stripe-signature",
            signature_element: Some("v1"),
            timestamp_element: Some("t"),
            signed: "{timestamp}.{body}",
            ..SchemeText::default()
        },
        secret: "whsec_test_secret_of_an_endpoint",
        headers: &[("stripe-signature", STRIPE)],
        body: "{\"id\":\"evt_1\"}",
    }
}

const STRIPE: &str = "t=1531420618,\
    v1=ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff,\
    v1=c073fd233a4588dde4b328db1cde997e0de352b5e79a20efffe48f4082867cee,v0=00";

/// As Shopify sends: base64, and no time.
fn shopify() -> Example {
    Example {
        scheme: SchemeText {
            signature_header: "x-shopify-hmac-sha256",
            signature_encoding: Encoding::Base64,
            ..SchemeText::default()
        },
        secret: "hush, this is a shared secret",
        headers: &[("x-shopify-hmac-sha256", "oRspBzBiXaovXwSgsZcTp3I61j+7Ra9Xb1cePrr9bNo=")],
        body: "{\"id\":820982911946154508}",
    }
}

/// SHA-512 in the alphabet of URLs, over a header as well, at a time in RFC 3339.
fn elaborate() -> Example {
    Example {
        scheme: SchemeText {
            signature_header: "x-signature",
            signature_algorithm: Algorithm::Sha512,
            signature_encoding: Encoding::Base64Url,
            signed: "{header:x-feed}\n{id}\n{timestamp}\n{body}",
            timestamp_header: Some("date"),
            id_header: Some("x-delivery"),
            ..SchemeText::default()
        },
        secret: "0123456789abcdef0123456789abcdef",
        headers: &[
            ("x-feed", "league-1"),
            ("x-delivery", "d-1"),
            ("date", "2018-07-12T18:36:58Z"),
            (
                "x-signature",
                "CiquLIjnMLrqtwi-iZp2bATSgF-S5jAo7Q52PK7WBoFR2qILpep16HCyaD7tnNamtPA4a3uDUXYRFMjademuhQ==",
            ),
        ],
        body: "[]",
    }
}

/// SHA-1 over the body.
fn old() -> Example {
    Example {
        scheme: SchemeText {
            signature_header: "x-hub-signature",
            signature_algorithm: Algorithm::Sha1,
            signature_prefix: "sha1=",
            ..SchemeText::default()
        },
        secret: "It's a Secret to Everybody",
        headers: &[("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")],
        body: "Hello, World!",
    }
}

fn judge(example: &Example, pairs: &[(&'static str, &str)], body: &str, now: Timestamp) -> Judged {
    let scheme = Scheme::new(&example.scheme).unwrap();
    let secret = Secret::decode(example.secret, SecretEncoding::Text).unwrap();
    let other = Secret::decode("another secret altogether", SecretEncoding::Text).unwrap();
    let claim = Claim::of(&headers(pairs), &scheme).map_err(|problem| problem.code)?;
    claim
        .verify(&scheme, std::slice::from_ref(&other), body.as_bytes(), now)
        .expect_err("another's secret");
    claim.verify(&scheme, &[other, secret], body.as_bytes(), now).map_err(|problem| problem.code)
}

type Judged = Result<(), Code>;

#[test]
fn fault_27_what_others_sign_in_their_own_ways_is_verified() {
    for example in [github(), slack(), stripe(), shopify(), elaborate(), old()] {
        let name = example.scheme.signature_header;
        assert_eq!(judge(&example, example.headers, example.body, NOW), Ok(()), "{name}");
        let mut changed = example.body.to_owned();
        changed.replace_range(1..2, "#");
        let changed = judge(&example, example.headers, &changed, NOW);
        assert_eq!(changed, Err(Code::SignatureInvalid), "{name}");
        let bare = example.headers.iter().filter(|it| !name.eq_ignore_ascii_case(it.0));
        let bare: Vec<_> = bare.copied().collect();
        let unsigned = judge(&example, &bare, example.body, NOW);
        assert_eq!(unsigned, Err(Code::SignatureMissing), "{name}");
    }
}

#[test]
fn fault_27_a_time_that_is_signed_is_judged_and_cannot_be_changed() {
    for example in [slack(), stripe(), elaborate()] {
        let name = example.scheme.signature_header;
        for (off_s, want) in [
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(Code::TimestampOutOfTolerance)),
            (-301, Err(Code::TimestampOutOfTolerance)),
        ] {
            let now = Timestamp(NOW.0 + off_s * 1_000_000);
            assert_eq!(judge(&example, example.headers, example.body, now), want, "{name}");
        }
        let later = |text: &str| text.replace("1531420618", "1531420619").replace(":58Z", ":59Z");
        let moved: Vec<_> = example.headers.iter().map(|(name, it)| (*name, later(it))).collect();
        let moved: Vec<_> = moved.iter().map(|(name, it)| (*name, it.as_str())).collect();
        let judged = judge(&example, &moved, example.body, NOW);
        assert_eq!(judged, Err(Code::SignatureInvalid), "{name}");
    }
    let years_later = Timestamp(NOW.0 * 2);
    let shopify = shopify();
    assert_eq!(judge(&shopify, shopify.headers, shopify.body, years_later), Ok(()), "no time");
}

#[test]
fn times_are_seconds_milliseconds_or_rfc_3339() {
    for text in ["1531420618", "1531420618000", "2018-07-12T18:36:58Z"] {
        assert_eq!(read_time(text), Some(NOW), "{text}");
    }
    for text in ["", "-1", "1e9", "soon", "99999999999999999999", &"0".repeat(50)] {
        assert_eq!(read_time(text), None, "{text}");
    }
}

#[test]
fn signatures_beyond_a_bound_are_not_looked_at() {
    let example = github();
    let scheme = Scheme::new(&example.scheme).unwrap();
    let many = format!("{}{}", "sha256=00,".repeat(SIGNATURES_MAX), example.headers[0].1);
    let pairs = [("x-hub-signature-256", many.as_str())];
    assert_eq!(judge(&example, &pairs, example.body, NOW), Err(Code::SignatureInvalid));
    let claim = Claim::of(&headers(&pairs), &scheme).unwrap();
    assert_eq!(claim.signatures.len(), SIGNATURES_MAX);
    let few = format!("sha256=00, {}", example.headers[0].1);
    let pairs = [("x-hub-signature-256", few.as_str())];
    assert_eq!(judge(&example, &pairs, example.body, NOW), Ok(()));
}
