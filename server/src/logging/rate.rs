//! How often one kind of line may be written.
//!
//! A kind is a place in the code, so the table is as large as the code has such places. Each has a
//! bucket of [`LOG_LINES_BURST`] lines that fills at [`LOG_LINES_PER_S`].

use std::collections::HashMap;
use std::time::Instant;

use tracing::callsite::Identifier;

use crate::limits::{LOG_LINES_BURST, LOG_LINES_PER_S};

/// By place in the code.
#[derive(Default)]
pub struct Rates {
    buckets: HashMap<Identifier, Bucket>,
}

struct Bucket {
    tokens: f64,
    filled_at: Instant,
    left_out: u64,
}

impl Rates {
    /// `Some(n)`: write it, and say that `n` of its kind were left out before. `None`: leave it
    /// out.
    pub fn judge(&mut self, kind: Identifier, now: Instant) -> Option<u64> {
        let burst = f64::from(LOG_LINES_BURST);
        let fresh = || Bucket { tokens: burst, filled_at: now, left_out: 0 };
        let bucket = self.buckets.entry(kind).or_insert_with(fresh);
        let passed = now.saturating_duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * f64::from(LOG_LINES_PER_S)).min(burst);
        bucket.filled_at = now;
        if bucket.tokens < 1.0 {
            bucket.left_out += 1;
            return None;
        }
        bucket.tokens -= 1.0;
        Some(std::mem::take(&mut bucket.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tracing::Callsite as _;

    #[test]
    fn fault_45_a_noisy_line_is_counted_and_a_quiet_one_is_not_touched() {
        let site =
            tracing::callsite! { name: "noisy", kind: tracing::metadata::Kind::EVENT, fields: };
        let other =
            tracing::callsite! { name: "quiet", kind: tracing::metadata::Kind::EVENT, fields: };
        let (noisy, quiet) = (site.metadata().callsite(), other.metadata().callsite());
        let start = Instant::now();
        let mut rates = Rates::default();
        let written = (0..100_000).filter(|_| rates.judge(noisy.clone(), start).is_some()).count();
        assert_eq!(written, LOG_LINES_BURST as usize);
        assert_eq!(rates.judge(quiet, start), Some(0));
        let later = start + Duration::from_secs(1);
        assert_eq!(rates.judge(noisy.clone(), later), Some(100_000 - u64::from(LOG_LINES_BURST)));
        let more = (0..1_000).filter(|_| rates.judge(noisy.clone(), later).is_some()).count();
        assert_eq!(more, LOG_LINES_PER_S as usize - 1);
    }
}
