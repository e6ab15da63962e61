//! Writes the text that Prometheus reads (exposition format 0.0.4).
//!
//! Written by hand because the crate of that trade writes OpenMetrics, where a counter's family
//! lacks its `_total`: `promtool check metrics` and older scrapers refuse that.

use std::fmt::Write as _;

use super::table::{Kind, Metric};

/// The content type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// Buckets of a histogram: upper bounds in seconds with the count of all at or below, ascending;
/// then the whole.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    /// Bound and cumulated count.
    pub bounds: Vec<(f64, u64)>,
    /// How many in all.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

/// The samples of one family: each call writes one line (a histogram: its lines).
pub struct Family<'a> {
    text: &'a mut String,
    metric: &'static Metric,
}

impl Page {
    /// Begins `metric`'s family.
    pub fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let Metric { name, kind, help, .. } = metric;
        let _ = writeln!(self.text, "# HELP {name} {help}.\n# TYPE {name} {}", kind.as_str());
        Family { text: &mut self.text, metric }
    }

    /// A family of one sample without labels.
    pub fn single(&mut self, metric: &'static Metric, value: f64) {
        self.family(metric).sample(&[], value);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample; `values` are those of the family's labels, in their order.
    pub fn sample(&mut self, values: &[&str], value: f64) -> &mut Self {
        debug_assert_ne!(self.metric.kind, Kind::Histogram);
        self.line("", values, None, value);
        self
    }

    /// One histogram.
    pub fn buckets(&mut self, values: &[&str], buckets: &Buckets) -> &mut Self {
        debug_assert_eq!(self.metric.kind, Kind::Histogram);
        for (bound, count) in &buckets.bounds {
            self.line("_bucket", values, Some(&number(*bound)), *count as f64);
        }
        self.line("_bucket", values, Some("+Inf"), buckets.count as f64);
        self.line("_sum", values, None, buckets.sum);
        self.line("_count", values, None, buckets.count as f64);
        self
    }

    fn line(&mut self, suffix: &str, values: &[&str], bound: Option<&str>, value: f64) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        let labels = self.metric.labels.iter().copied().zip(values.iter().copied());
        let labels = labels.chain(bound.map(|bound| ("le", bound)));
        let labels: Vec<_> =
            labels.map(|(name, text)| format!("{name}=\"{}\"", escape(text))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{suffix}{labels} {}", self.metric.name, number(value));
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() { "+Inf".into() } else { value.to_string() }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::table::{DELIVERY_LATENCY_SECONDS, INGEST_ERRORS, READY};
    use super::*;

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.single(&READY, 1.0);
        page.family(&INGEST_ERRORS).sample(&["a\"b\\\n", "bad"], 3.0);
        let buckets = Buckets { bounds: vec![(0.5, 1), (1.0, 2)], count: 3, sum: 4.25 };
        page.family(&DELIVERY_LATENCY_SECONDS).buckets(&[], &buckets);
        let text = page.finish();
        for line in [
            "# HELP touchline_ready 1 while /readyz answers 200.",
            "# TYPE touchline_ready gauge",
            "touchline_ready 1",
            r#"touchline_ingest_errors_total{source="a\"b\\\n",reason="bad"} 3"#,
            r#"touchline_delivery_latency_seconds_bucket{le="0.5"} 1"#,
            r#"touchline_delivery_latency_seconds_bucket{le="+Inf"} 3"#,
            "touchline_delivery_latency_seconds_sum 4.25",
            "touchline_delivery_latency_seconds_count 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
    }
}
