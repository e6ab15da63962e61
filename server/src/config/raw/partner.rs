//! `[sources.broadcast.NAME]`

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::Size;

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    pub secrets_file: Option<PathBuf>,
    #[serde(default)]
    pub secrets: Vec<String>,
    pub secret_encoding: Option<String>,
    pub signature: Option<String>,
    pub signature_header: Option<String>,
    pub signature_algorithm: Option<String>,
    pub signature_encoding: Option<String>,
    pub signature_prefix: Option<String>,
    pub signature_element: Option<String>,
    pub signed: Option<String>,
    pub timestamp_header: Option<String>,
    pub timestamp_element: Option<String>,
    pub tolerance_s: Option<f64>,
    pub id_header: Option<String>,
    pub events_per_s_max: Option<u32>,
    pub events_burst_max: Option<u32>,
    pub requests_in_flight_max: Option<usize>,
    pub schema_file: Option<PathBuf>,
    pub items: Option<String>,
    pub team: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub id: Option<String>,
    pub time: Option<String>,
    pub value: Option<String>,
    pub poll_url: Option<String>,
    pub poll_interval_s: Option<f64>,
    pub poll_timeout_s: Option<f64>,
    pub poll_body_bytes_max: Option<Size>,
    #[serde(default)]
    pub poll_headers: Vec<String>,
    pub poll_secret_header: Option<String>,
    pub poll_secret_file: Option<PathBuf>,
}

impl fmt::Debug for Partner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secrets_file, secrets, .. } = self;
        write!(f, "Partner {{ secrets_file: {secrets_file:?}, {} secrets, .. }}", secrets.len())
    }
}
