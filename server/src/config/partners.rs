//! `[sources.broadcast.NAME]` as the webhook wants it, and as whoever polls wants it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use touchline_core::event::check_source;
use touchline_ingest::breaker::BreakerRules;
use touchline_ingest::broadcast::{
    Algorithm, Encoding, ItemMapping, Partner, Schema, Scheme, SchemeText, Sources,
};
use touchline_ingest::limits::{PARTNER_REQUESTS_MAX, SCHEMA_BYTES_MAX};
use touchline_ingest::mapping::From;
use touchline_ingest::poll::Ask;

use super::options::FolderOf;
use super::raw::{self, Raw, Size};
use super::sections::{self, Section};
use super::units::seconds;
use super::{Problem, secrets};

/// The breaker of each that is polled: three failures open it.
const BREAKER: BreakerRules = BreakerRules {
    failures: 3,
    open_first: Duration::from_secs(1),
    open_max: Duration::from_secs(60),
};

/// Resolves all of them.
pub(super) fn build(
    raw: &Raw,
    folder_of: FolderOf<'_>,
    problems: &mut Vec<Problem>,
) -> (Sources, Vec<Ask>) {
    let (mut partners, mut polled) = (Vec::new(), Vec::new());
    for section in sections::all(raw, "broadcast", &raw.sources.broadcast, folder_of) {
        if let Err(expects) = check_source(section.name) {
            let shown = section.name.escape_debug();
            problems.push(Problem::Unfit(format!("the partner's name \"{shown}\" {expects}")));
            continue;
        }
        match section.partner() {
            Ok(partner) => partners.push(partner),
            Err(problem) => problems.push(problem),
        }
        match section.ask() {
            Ok(ask) => polled.extend(ask),
            Err(why) => problems.push(section.unfit(&why)),
        }
    }
    let sources = Sources::new(partners).unwrap_or_else(|error| {
        problems.push(Problem::Unfit(error.to_string()));
        Sources::default()
    });
    (sources, polled)
}

impl Section<'_, raw::Partner> {
    fn partner(&self) -> Result<Partner, Problem> {
        let Self { raw, name, it, .. } = *self;
        let secrets = secrets::read(name, it, &self.folder("secrets_file"))?;
        let partner = match secrets.is_empty() {
            true => Partner::without_secrets(name),
            false => Partner::with_secrets(name, secrets),
        };
        let mut partner = partner.map_err(|error| Problem::Unfit(error.to_string()))?;
        partner.scheme = scheme(it).map_err(|why| self.unfit(&why))?;
        partner.mapping = mapping(it).map_err(|why| self.unfit(&why))?;
        partner.schema = self.schema().map_err(|why| self.unfit(&why))?;
        partner.events_per_s = it.events_per_s_max.unwrap_or(raw.ingest.events_per_s_max);
        partner.events_burst = it.events_burst_max.unwrap_or(raw.ingest.events_burst_max);
        partner.routes_max = raw.ingest.routes_max;
        partner.requests_max = it.requests_in_flight_max.unwrap_or(PARTNER_REQUESTS_MAX);
        Ok(partner)
    }

    fn schema(&self) -> Result<Option<Arc<Schema>>, String> {
        let Some(file) = &self.it.schema_file else { return Ok(None) };
        let file = self.folder("schema_file").join(file);
        let named =
            |why: &dyn std::fmt::Display| format!("`schema_file`: {}: {why}", file.display());
        let bytes = read(&file, SCHEMA_BYTES_MAX).map_err(|error| named(&error))?;
        let schema = Schema::compile(&bytes).map_err(|why| format!("{} {why}", file.display()));
        schema.map(|schema| Some(Arc::new(schema))).map_err(|why| format!("`schema_file`: {why}"))
    }

    /// What it is asked, where it is polled.
    fn ask(&self) -> Result<Option<Ask>, String> {
        let it = self.it;
        let Some(url) = &it.poll_url else {
            let others = [
                ("poll_interval_s", it.poll_interval_s.is_some()),
                ("poll_timeout_s", it.poll_timeout_s.is_some()),
                ("poll_body_bytes_max", it.poll_body_bytes_max.is_some()),
                ("poll_headers", !it.poll_headers.is_empty()),
                ("poll_secret_header", it.poll_secret_header.is_some()),
                ("poll_secret_file", it.poll_secret_file.is_some()),
            ];
            return match others.into_iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => Err(format!("`{key}` counts with `poll_url` only")),
                None => Ok(None),
            };
        };
        let interval_s = it.poll_interval_s.unwrap_or(5.0);
        Ok(Some(Ask {
            name: self.name.into(),
            url: url.as_str().into(),
            interval: seconds(interval_s),
            timeout: sections::timeout(it.poll_timeout_s, interval_s),
            headers: self.headers(
                &it.poll_headers,
                &it.poll_secret_header,
                ("poll_secret_file", &it.poll_secret_file),
            )?,
            body_bytes_max: it.poll_body_bytes_max.map_or(1 << 20, Size::as_usize),
            breaker: BREAKER,
        }))
    }
}

/// At most `bytes_max` of a file that has no more.
fn read(file: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    std::fs::read(file).map_err(|error| error.to_string())
}

fn scheme(it: &raw::Partner) -> Result<Scheme, String> {
    let tolerance = it.tolerance_s.map_or(Scheme::standard().tolerance, seconds);
    if it.signature.as_deref() != Some("hmac") {
        return match described(it) {
            Some(key) => Err(format!("`{key}` counts with signature = \"hmac\" only")),
            None => Ok(Scheme { tolerance, ..Scheme::standard() }),
        };
    }
    if it.tolerance_s.is_some() && it.timestamp_header.is_none() && it.timestamp_element.is_none() {
        return Err("`tolerance_s` needs `timestamp_header` or `timestamp_element`".into());
    }
    let plain = SchemeText::default();
    Scheme::new(&SchemeText {
        signature_header: it.signature_header.as_deref().unwrap_or_default(),
        signature_algorithm: named(&Algorithm::ALL, &it.signature_algorithm)
            .unwrap_or(plain.signature_algorithm),
        signature_encoding: named(&Encoding::ALL, &it.signature_encoding)
            .unwrap_or(plain.signature_encoding),
        signature_prefix: it.signature_prefix.as_deref().unwrap_or_default(),
        signature_element: it.signature_element.as_deref(),
        signed: it.signed.as_deref().unwrap_or(plain.signed),
        timestamp_header: it.timestamp_header.as_deref(),
        timestamp_element: it.timestamp_element.as_deref(),
        tolerance,
        id_header: it.id_header.as_deref(),
    })
}

/// The first of the keys that describe a scheme.
fn described(it: &raw::Partner) -> Option<&'static str> {
    let keys = [
        ("signature_header", &it.signature_header),
        ("signature_algorithm", &it.signature_algorithm),
        ("signature_encoding", &it.signature_encoding),
        ("signature_prefix", &it.signature_prefix),
        ("signature_element", &it.signature_element),
        ("signed", &it.signed),
        ("timestamp_header", &it.timestamp_header),
        ("timestamp_element", &it.timestamp_element),
        ("id_header", &it.id_header),
    ];
    keys.into_iter().find(|(_, value)| value.is_some()).map(|(key, _)| key)
}

fn named<T: Copy>(all: &[(T, &str)], name: &Option<String>) -> Option<T> {
    let name = name.as_deref()?;
    all.iter().find(|(_, own)| *own == name).map(|(value, _)| *value)
}

/// `None`: it sends our own shape.
fn mapping(it: &raw::Partner) -> Result<Option<ItemMapping>, String> {
    let fields = [&it.items, &it.team, &it.kind, &it.id, &it.time, &it.value];
    if fields.iter().all(|field| field.is_none()) {
        return Ok(None);
    }
    let needed = |key: &str, value: &Option<String>| {
        let missing = || format!("`{key}` is missing: a mapping tells team, type, id and time");
        value.as_deref().map(From::parse).ok_or_else(missing)
    };
    let pointer = |key: &str, value: &Option<String>| match needed(key, value)? {
        From::Constant(_) => Err(format!("`{key}` must be a pointer: no two events share it")),
        pointer => Ok(pointer),
    };
    Ok(Some(ItemMapping {
        items: it.items.clone().unwrap_or_default().into(),
        team: needed("team", &it.team)?,
        kind: needed("type", &it.kind)?,
        id: pointer("id", &it.id)?,
        time: pointer("time", &it.time)?,
        value: From::parse(it.value.as_deref().unwrap_or("")),
    }))
}
