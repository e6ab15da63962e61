//! Claim: the tables of `docs/protocol.md` and `docs/webhooks.md` say what the code does.
//!
//! `UPDATE_DOCS=1 cargo test -p touchline-tests --test protocol_tables` writes them anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use touchline_core::config::HubConfig;
use touchline_core::limits;
use touchline_core::protocol::ErrorCode;
use touchline_core::ws::CloseCode;
use touchline_fanout::limits::LANGS_MAX;
use touchline_fanout::options::SessionRules;
use touchline_ingest::problem::Code;

fn page(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn close_codes() -> String {
    let mut table = String::from("| code | name | come back? | why |\n|---|---|---|---|\n");
    for row in CloseCode::ALL {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} |",
            row.label,
            row.name,
            row.come_back.as_str(),
            row.meaning
        );
    }
    table
}

fn error_codes() -> String {
    let mut table = String::from("| code | meaning |\n|---|---|\n");
    for (_, code, meaning) in ErrorCode::ALL {
        let _ = writeln!(table, "| `{code}` | {meaning} |");
    }
    table
}

fn limit_table() -> String {
    let (hub, rules) = (HubConfig::default(), SessionRules::default());
    let rows = [
        ("teams a session follows", hub.teams_max.to_string(), "`error` `too_many_teams`"),
        ("bytes of a message", limits::MESSAGE_BYTES_MAX.to_string(), "close 1009"),
        ("fragments of a message", limits::MESSAGE_FRAGMENTS_MAX.to_string(), "close 1008"),
        (
            "messages, pings and pongs a second, over a while",
            format!("{}, {} at once", rules.messages_per_s, rules.messages_burst),
            "`error` `too_many_messages`, then close 1008",
        ),
        (
            "languages in which a team is followed",
            LANGS_MAX.to_string(),
            "`error` `too_many_langs`",
        ),
        ("topics in `after`", limits::AFTER_TOPICS_MAX.to_string(), "`error` `bad_field`"),
        ("bytes of the URI", limits::URI_BYTES_MAX.to_string(), "414"),
        ("bytes of the request's head", limits::REQUEST_HEAD_BYTES_MAX.to_string(), "431"),
        ("seconds for the handshake", rules.handshake_max.as_secs().to_string(), "408"),
        ("seconds for a message", rules.message_max.as_secs().to_string(), "close 1008"),
        ("seconds between heartbeats", rules.heartbeat.as_secs().to_string(), "-"),
        ("seconds to answer a ping", rules.pong_max.as_secs().to_string(), "close 4012"),
        ("seconds to answer a close", rules.close_max.as_secs().to_string(), "the line is cut"),
        (
            "unsent bytes in one stream",
            hub.streams[0].queue_bytes_max.to_string(),
            "`broadcast`: close 4008; others: `gap`, reason `slow`",
        ),
    ];
    let mut table = String::from("| what | default | beyond it |\n|---|---|---|\n");
    for (what, value, beyond) in rows {
        let _ = writeln!(table, "| {what} | {value} | {beyond} |");
    }
    table
}

/// Puts `table` between the marks of that name.
fn fill(page: &str, name: &str, table: &str) -> String {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no marks for {name}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("an end mark");
    format!("{before}{begin}{table}<!-- end -->{after}")
}

fn refusals() -> String {
    let mut table = String::from("| status | code | meaning |\n|---|---|---|\n");
    for (_, code, status, meaning) in Code::ALL {
        let _ = writeln!(table, "| {status} | `{code}` | {meaning} |");
    }
    table
}

/// The page `name` has these tables.
fn check(name: &str, tables: &[(&str, String)]) {
    let written = std::fs::read_to_string(page(name)).unwrap();
    let fill_in = |page: String, (mark, table): &(&str, String)| fill(&page, mark, table);
    let wanted = tables.iter().fold(written.clone(), fill_in);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(page(name), &wanted).unwrap();
        return;
    }
    assert!(
        written == wanted,
        "docs/{name} is behind the code: UPDATE_DOCS=1 cargo test -p touchline-tests \
         --test protocol_tables"
    );
}

#[test]
fn the_tables_of_the_protocol_page_are_those_of_the_code() {
    let tables =
        [("close codes", close_codes()), ("limits", limit_table()), ("error codes", error_codes())];
    check("protocol.md", &tables);
}

#[test]
fn the_table_of_the_webhook_page_is_that_of_the_code() {
    check("webhooks.md", &[("refusals", refusals())]);
}
