//! `[sources.broadcast.NAME]` as the webhook wants it.

use touchline_core::event::check_source;
use touchline_ingest::broadcast::{Partner, Sources};

use super::options::folder_of;
use super::raw::Raw;
use super::{Origin, Problem, secrets};

/// Resolves all of them.
pub(super) fn build(
    raw: &Raw,
    origin_of: &dyn Fn(&str) -> Origin,
    problems: &mut Vec<Problem>,
) -> Sources {
    let mut partners = Vec::new();
    for (name, section) in &raw.sources.broadcast {
        if let Err(expects) = check_source(name) {
            let shown = name.escape_debug();
            problems.push(Problem::Unfit(format!("the partner's name \"{shown}\" {expects}")));
            continue;
        }
        let origin = origin_of(&format!("sources.broadcast.{name}.secrets_file"));
        let partner = secrets::read(name, section, folder_of(&origin)).and_then(|secrets| {
            let texts: Vec<&str> = secrets.iter().map(secrets::Secret::expose).collect();
            Partner::new(name, &texts).map_err(|error| Problem::Unfit(error.to_string()))
        });
        match partner {
            Ok(mut partner) => {
                partner.events_per_s = raw.ingest.events_per_s_max;
                partner.events_burst = raw.ingest.events_burst_max;
                partner.routes_max = raw.ingest.routes_max;
                partners.push(partner);
            }
            Err(problem) => problems.push(problem),
        }
    }
    Sources::new(partners).unwrap_or_else(|error| {
        problems.push(Problem::Unfit(error.to_string()));
        Sources::default()
    })
}
