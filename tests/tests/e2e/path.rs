//! Webhook, socket, resume, drain: one walk, on io_uring and on epoll with plain files. (That a
//! host which forbids io_uring is served by the second and told so is `fault_42_*` of `serve`.)

use rustix::process::Signal;
use serde_json::{Value, json};
use touchline_tests::e2e::http::event;
use touchline_tests::e2e::log::dump;
use touchline_tests::e2e::server::{Backend, Home};
use touchline_tests::e2e::socket::{Heard, Socket};
use touchline_tests::e2e::until;

#[test]
fn a_goal_is_followed_from_the_webhook_to_the_drain_on_both_backends() {
    for backend in Backend::ALL {
        println!("on {backend:?}");
        let home = Home::new("[drain]\ngrace_s = 0.3\n[sessions]\nheartbeat_s = 1\npong_s = 1\n");
        let mut server = home.serve(backend);
        let to = server.addresses().stream;
        let mut follower = Socket::open(to, "teams=ars,che");
        let first_mark = follower.hear_op("subscribed")["mark"].clone();

        // Twice delivered, once seen; of two teams that are both followed, once as well.
        let goal = event("g-1", &["ars", "che"]);
        server.accept(&goal);
        assert!(server.post(&goal).body.contains(r#""duplicates":1"#));
        server.accept(&event("g-2", &["ars", "liv"]));
        server.accept(&event("other", &["eve"]));
        let heard = [follower.hear_op("event"), follower.hear_op("event")];
        assert_eq!(heard.each_ref().map(|event| &event["id"]), ["g-1", "g-2"]);
        assert_eq!(heard[0]["topic"], "broadcast:ars+che");
        assert_eq!(heard[0]["data"], json!({ "minute": 7 }));
        let heartbeat = follower.hear_op("mark");
        assert_ne!(heartbeat["mark"], first_mark, "the mark has moved");
        drop(follower);

        // What happened meanwhile comes on resume: also of a topic that was never seen.
        server.accept(&event("g-3", &["ars", "che"]));
        server.accept(&event("g-4", &["ars", "new"]));
        let mut back = Socket::open(to, "");
        back.send_text(&resume(&first_mark, &heard));
        assert_eq!(back.hear_op("subscribed")["recovered"], true);
        let missed = [back.hear_op("event"), back.hear_op("event")];
        assert_eq!(missed.each_ref().map(|event| &event["id"]), ["g-3", "g-4"]);

        let wanted = if backend == Backend::Plain { "epoll" } else { "io_uring" };
        let is_shown = |name: &str| {
            let page = server.admin("/metrics").body;
            page.contains(&format!("touchline_io_backend_info{{backend=\"{name}\"}} 1"))
        };
        assert!(is_shown(wanted) || backend == Backend::Auto && is_shown("epoll"), "{wanted}");

        server.signal(Signal::TERM);
        until("not ready", || server.admin("/readyz").status == 503);
        back.hear_op("reconnect");
        assert_eq!(back.hear_close(), Some(1012));
        assert_eq!(back.hear(), Heard::End);
        assert_eq!(server.wait_for_end(), Some(0), "{:#?}", server.log());
        let ids: Vec<_> = dump(&home.journal()).into_iter().map(|record| record.name).collect();
        let ids: Vec<_> = ids.iter().filter_map(|name| name.strip_prefix("skyline/")).collect();
        assert_eq!(ids, ["g-1", "g-2", "other", "g-3", "g-4"]);
    }
}

/// What a client sends that has `mark` and these events.
fn resume(mark: &Value, events: &[Value]) -> String {
    let after: serde_json::Map<_, _> = events
        .iter()
        .map(|event| (event["topic"].as_str().unwrap().to_owned(), event["pos"].clone()))
        .collect();
    json!({ "op": "subscribe", "teams": ["ars", "che"], "mark": mark, "after": after }).to_string()
}
