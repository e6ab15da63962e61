//! `[sources.social.NAME]` as the adapter wants it.

use touchline_ingest::limits::SOCIAL_ROUTES_MAX;
use touchline_ingest::mapping::From;
use touchline_ingest::outbound::Hidden;
use touchline_ingest::social::{BackoffRules, PostMapping, Rewind, SocialKind, SocialSource};

use super::options::FolderOf;
use super::raw::{Raw, Size, Social};
use super::sections::{self, Section, needed, pointer};
use super::units::seconds;
use super::{Problem, secrets};
use crate::limits::SOCIAL_SOURCES_MAX;

/// Resolves all of them.
pub(super) fn build(
    raw: &Raw,
    folder_of: FolderOf<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<SocialSource> {
    let all = sections::all(raw, "social", &raw.sources.social, folder_of);
    sections::resolve(all, SOCIAL_SOURCES_MAX, problems, source)
}

fn source(section: &Section<'_, Social>) -> Result<SocialSource, String> {
    let it = section.it;
    let url = needed(&it.url, "url")?;
    let kind = kind(it.kind.as_deref(), &url);
    if it.event.is_some() && kind != SocialKind::Events {
        return Err("`event` names server-sent events: it goes with `kind = \"events\"`".into());
    }
    let subscribe = subscribe(section)?;
    if subscribe.is_some() && kind != SocialKind::WebSocket {
        return Err("`subscribe` is a WebSocket's first message".into());
    }
    let (rewind, parameter) = rewind(it)?;
    let source = SocialSource {
        name: section.name.into(),
        url: url.into(),
        kind,
        headers: section.headers(
            &it.headers,
            &it.secret_header,
            ("secret_file", &it.secret_file),
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
fn subscribe(section: &Section<'_, Social>) -> Result<Option<Hidden>, String> {
    match (&section.it.subscribe, &section.it.subscribe_file) {
        (Some(_), Some(_)) => Err("`subscribe` and `subscribe_file`: give one of them".into()),
        (text, None) => Ok(text.as_deref().map(Into::into)),
        (None, Some(file)) => {
            secrets::read_one(&section.folder("subscribe_file").join(file)).map(Some)
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
