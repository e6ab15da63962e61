//! FAULTS 27 against the binary: what a partner may send wrongly, and what it is answered. The
//! door's own tests (`ingest`) have the long tables.

use touchline_ingest::broadcast::{Secret, sign};
use touchline_tests::e2e::http::{Answer, SECRET, event, request};
use touchline_tests::e2e::log::dump;
use touchline_tests::e2e::server::{Home, Server};

use crate::{both, is_sound};

const OTHER: &str = "whsec_bm90IHRoaXMgcGFydG5lcidzIHNlY3JldA==";

/// One delivery, and what is wrong with it.
struct Delivery<'d> {
    secret: &'d str,
    partner: &'d str,
    content_type: &'d str,
    seconds_ago: i64,
    body: &'d str,
    /// What is sent in place of the body that was signed.
    sent: Option<&'d str>,
}

fn good(body: &str) -> Delivery<'_> {
    let content_type = "application/json";
    Delivery { secret: SECRET, partner: "skyline", content_type, seconds_ago: 0, body, sent: None }
}

fn deliver(server: &Server, delivery: &Delivery<'_>) -> Answer {
    let time = jiff::Timestamp::now().as_second() - delivery.seconds_ago;
    let secret = Secret::parse(delivery.secret).unwrap();
    let signature = sign(&secret, "d-1", time, delivery.body.as_bytes());
    let headers = [
        ("content-type", delivery.content_type),
        ("webhook-id", "d-1"),
        ("webhook-timestamp", &time.to_string()),
        ("webhook-signature", &signature),
    ];
    let path = format!("/v1/ingest/broadcast/{}", delivery.partner);
    let body = delivery.sent.unwrap_or(delivery.body);
    request(server.addresses().api, "POST", &path, &headers, body).unwrap()
}

#[test]
fn fault_27_nothing_of_a_delivery_that_is_refused_enters_the_log() {
    both(|backend| {
        let home = Home::new("");
        let mut server = home.serve(backend);
        let body = event("g-1", &["ars"]);
        let changed = body.replace("ars", "che");
        let bad_item = format!("[{body},{}]", event("g-2", &["NO TEAM"]));
        let same_body = format!("[{body},{}]", body.replace(":7", ":8"));
        let future = body.replace("occurred_at\":\"20", "occurred_at\":\"21");
        assert_ne!(future, body);
        let rows = [
            ("another's secret", Delivery { secret: OTHER, ..good(&body) }, 401),
            ("an old signature", Delivery { seconds_ago: 301, ..good(&body) }, 401),
            ("a signature of tomorrow", Delivery { seconds_ago: -330, ..good(&body) }, 401),
            ("a changed body", Delivery { sent: Some(&changed), ..good(&body) }, 401),
            ("nobody's path", Delivery { partner: "nobody", ..good(&body) }, 404),
            ("text", Delivery { content_type: "text/plain", ..good(&body) }, 415),
            ("one bad item", good(&bad_item), 422),
            ("an id for two contents", good(&same_body), 422),
            ("an event of the next century", good(&future), 422),
            ("no event", good("{}"), 422),
        ];
        for (what, delivery, status) in &rows {
            let answer = deliver(&server, delivery);
            assert_eq!(answer.status, *status, "{what}: {answer:?}");
            let kind = answer.header("content-type").unwrap_or_default();
            assert!(kind.starts_with("application/problem+json"), "{what}: {answer:?}");
        }
        assert_eq!(deliver(&server, &good(&body)).status, 202);
        assert!(deliver(&server, &good(&body)).body.contains(r#""duplicates":1"#));
        let other = body.replace(":7", ":9");
        let answer = deliver(&server, &good(&other));
        assert!(answer.status == 422 && answer.body.contains("id_reused"), "{answer:?}");
        is_sound(&server);
        server.stop();
        let names: Vec<_> = dump(&home.journal()).into_iter().map(|record| record.name).collect();
        assert_eq!(names[0], "skyline/g-1");
        assert_eq!(names.len(), 2, "and the one that shows it is sound: {names:?}");
    });
}
