//! Our signatures against the `standardwebhooks` crate: what one side signs, the other believes.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use standardwebhooks::Webhook;
use support::{Desk, NOW_S, SECRET, event, signed};
use touchline_ingest::broadcast::{Secret, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP, sign};

#[tokio::test]
async fn a_delivery_signed_by_another_implementation_is_believed() {
    let desk = Desk::new();
    let body = event("1").to_string();
    let theirs = Webhook::new(SECRET).unwrap().sign("msg-1", NOW_S, body.as_bytes()).unwrap();
    let mut request = signed(SECRET, NOW_S, body.as_bytes());
    request.headers_mut().insert(WEBHOOK_SIGNATURE, theirs.parse().unwrap());
    assert_eq!(desk.send(request).await.tally(), (1, 0, 0));
}

proptest! {
    #[test]
    fn both_implementations_sign_alike(
        key in prop::collection::vec(any::<u8>(), 16..=128),
        id in "[!-~]{1,128}",
        body in any::<String>(),
    ) {
        let secret = format!("whsec_{}", STANDARD.encode(key));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let ours = sign(&Secret::parse(&secret).unwrap(), &id, now, body.as_bytes());
        let oracle = Webhook::new(&secret).unwrap();
        prop_assert_eq!(&ours, &oracle.sign(&id, now, body.as_bytes()).unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(WEBHOOK_ID, id.parse().unwrap());
        headers.insert(WEBHOOK_TIMESTAMP, now.into());
        headers.insert(WEBHOOK_SIGNATURE, ours.parse().unwrap());
        prop_assert!(oracle.verify(body.as_bytes(), &headers).is_ok());
    }
}
