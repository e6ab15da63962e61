//! `[sources.social.NAME]` as the adapter wants it.

use touchline_core::event::check_source;
use touchline_ingest::limits::SOCIAL_ROUTES_MAX;
use touchline_ingest::mapping::From;
use touchline_ingest::outbound::Hidden;
use touchline_ingest::social::{BackoffRules, PostMapping, Rewind, SocialKind, SocialSource};

use super::headers::{self, Given};
use super::options::FolderOf;
use super::raw::{Raw, Size, Social};
use super::sections::{needed, pointer};
use super::units::seconds;
use super::{Problem, secrets, sections};
use crate::limits::SOCIAL_SOURCES_MAX;

/// Resolves all of them. `folder_of` tells what a key's file is relative to, by the key's path.
pub(super) fn build(
    raw: &Raw,
    folder_of: FolderOf<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<SocialSource> {
    let one = |name: &str, section: &_| source(raw, name, section, folder_of);
    sections::resolve("social", &raw.sources.social, SOCIAL_SOURCES_MAX, problems, one)
}

fn source(
    raw: &Raw,
    name: &str,
    it: &Social,
    folder_of: FolderOf<'_>,
) -> Result<SocialSource, String> {
    check_source(name).map_err(|expects| format!("its name {expects}"))?;
    if raw.sources.broadcast.contains_key(name) || raw.sources.sensor.contains_key(name) {
        return Err("another source has that name: events tell their source by it".into());
    }
    let url = needed(&it.url, "url")?;
    let kind = kind(it.kind.as_deref(), &url);
    if it.event.is_some() && kind != SocialKind::Events {
        return Err("`event` names server-sent events: it goes with `kind = \"events\"`".into());
    }
    let subscribe = subscribe(name, it, folder_of)?;
    if subscribe.is_some() && kind != SocialKind::WebSocket {
        return Err("`subscribe` is a WebSocket's first message".into());
    }
    let (rewind, parameter) = rewind(it)?;
    let source = SocialSource {
        name: name.into(),
        url: url.into(),
        kind,
        headers: headers::read(
            &Given {
                plain: &it.headers,
                secret_header: it.secret_header.as_deref(),
                secret_file: it.secret_file.as_ref(),
            },
            &folder_of(&format!("sources.social.{name}.secret_file")),
        )?,
        event: it.event.as_deref().map(Into::into),
        subscribe,
        mapping: PostMapping {
            id: From::parse(&needed(&it.id, "id")?),
            text: From::parse(&needed(&it.text, "text")?),
            time: pointer(&it.time),
            kind: From::parse(it.r#type.as_deref().unwrap_or("post")),
            author: pointer(&it.author),
            value: pointer(&it.value),
        },
        terms: it.terms.iter().map(|line| line.as_str().into()).collect(),
        posts_per_s_max: it.posts_per_s_max.unwrap_or(10),
        routes_max: it.routes_max.unwrap_or(SOCIAL_ROUTES_MAX),
        post_bytes_max: it.post_bytes_max.map_or(256 << 10, Size::as_usize),
        stall: seconds(it.stall_s.unwrap_or(30.0)),
        rewind,
        rewind_parameter: parameter,
        backoff: BackoffRules::default(),
    };
    source.check().map_err(|error| error.why.into_string())?;
    Ok(source)
}

/// A WebSocket's first message, from the configuration or a file.
fn subscribe(name: &str, it: &Social, folder_of: FolderOf<'_>) -> Result<Option<Hidden>, String> {
    match (&it.subscribe, &it.subscribe_file) {
        (Some(_), Some(_)) => Err("`subscribe` and `subscribe_file`: give one of them".into()),
        (text, None) => Ok(text.as_deref().map(Into::into)),
        (None, Some(file)) => {
            let folder = folder_of(&format!("sources.social.{name}.subscribe_file"));
            secrets::read_one(&folder.join(file)).map(Some)
        }
    }
}

fn kind(named: Option<&str>, url: &str) -> SocialKind {
    match named {
        Some("lines") => SocialKind::Lines,
        Some("events") => SocialKind::Events,
        Some(_) => SocialKind::WebSocket,
        None if url.starts_with("ws://") || url.starts_with("wss://") => SocialKind::WebSocket,
        None => SocialKind::Lines,
    }
}

fn rewind(it: &Social) -> Result<(Rewind, Box<str>), String> {
    let (rewind, name) = match it.rewind.as_deref() {
        Some("last_event_id") => (Rewind::LastEventId, ""),
        Some("since_id") => (Rewind::SinceId, "since_id"),
        Some("backfill_minutes") => (Rewind::BackfillMinutes, "backfill_minutes"),
        _ => (Rewind::None, ""),
    };
    match &it.rewind_parameter {
        None => Ok((rewind, name.into())),
        Some(own) if !name.is_empty() => Ok((rewind, own.as_str().into())),
        Some(_) => Err("`rewind_parameter` goes with `rewind = \"since_id\"` or \
                        \"backfill_minutes\""
            .into()),
    }
}
