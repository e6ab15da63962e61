//! What has to fit together, and texts that have a form of their own.

use super::Problem;
use super::raw::Raw;
use super::units::size_text;

/// All of it.
pub(super) fn check(raw: &Raw, problems: &mut Vec<Problem>) {
    check_joins(raw, problems);
    check_addresses(raw, problems);
}

fn check_joins(raw: &Raw, problems: &mut Vec<Problem>) {
    let (all, streams) = (raw.windows.bytes_max.0, &raw.streams);
    let windows = [
        ("broadcast", streams.broadcast.window_bytes.0),
        ("update", streams.update.window_bytes.0),
        ("social", streams.social.window_bytes.0),
        ("sensor", streams.sensor.window_bytes.0),
    ];
    for (name, bytes) in windows.into_iter().filter(|(_, bytes)| *bytes > all) {
        problems.push(Problem::Unfit(format!(
            "`streams.{name}.window_bytes` ({}) is more than `windows.bytes_max` ({}) for all of \
             them",
            size_text(bytes),
            size_text(all)
        )));
    }
    let (segment, kept) = (raw.log.segment_bytes.0, raw.log.retention_bytes.0);
    if kept < 2 * segment {
        problems.push(Problem::Unfit(format!(
            "`log.retention_bytes` ({}) must be at least twice `log.segment_bytes` ({})",
            size_text(kept),
            size_text(segment)
        )));
    }
}

fn check_addresses(raw: &Raw, problems: &mut Vec<Problem>) {
    for origin in raw.sessions.origins.iter().filter(|origin| !is_origin(origin)) {
        let shown = origin.escape_debug();
        problems.push(Problem::Unfit(format!(
            "`sessions.origins`: \"{shown}\" is not an origin: write scheme, host and port as in \
             https://example.com"
        )));
    }
    let url = &raw.listen.stream_url;
    let plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"';,".contains(&byte));
    if !url.is_empty() && !(plain && (url.starts_with("ws://") || url.starts_with("wss://"))) {
        let shown = url.escape_debug();
        problems.push(Problem::Unfit(format!(
            "`listen.stream_url`: \"{shown}\" is not a WebSocket's address: write it as in \
             wss://live.example.com/v1/stream"
        )));
    }
}

/// Whether `text` is an origin as browsers send it: `scheme://host` or `scheme://host:port`, lower
/// case.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]".contains(&byte);
    matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(good)
}
