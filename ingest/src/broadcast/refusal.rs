//! What a partner is told when the log takes nothing: whose fault it is, and when to come back.

use touchline_core::log::AppendError;

use crate::problem::{Code, ItemError, Problem};

/// The answer to a batch that the log refused whole.
pub fn of(error: &AppendError) -> Problem {
    if let AppendError::IdReused(items) = error {
        return Problem::of_items(Code::IdReused, items.iter().copied().map(reused).collect());
    }
    if let AppendError::Refused(items) = error {
        return Problem::of_items(Code::LogRefused, items.iter().copied().map(refused).collect());
    }
    let (code, retry_after_s) = match error {
        AppendError::IdReused(_) => (Code::IdReused, 0),
        AppendError::Refused(_) => (Code::LogRefused, 0),
        AppendError::DedupeFull => (Code::DedupeFull, 60),
        AppendError::Busy => (Code::LogBusy, 1),
        AppendError::Unreachable => (Code::LogUnreachable, 5),
        AppendError::DiskFull => (Code::LogFull, 10),
        AppendError::ReadOnly => (Code::LogReadOnly, 60),
        AppendError::Unknown(_) => (Code::LogUnknown, 2),
        AppendError::Closed => (Code::Closing, 5),
    };
    Problem::new(code, error.to_string()).retry_after(retry_after_s)
}

fn reused(index: usize) -> ItemError {
    let detail = "was used before for other content; a correction needs an id of its own";
    ItemError { index, field: "id".into(), reason: "id_reused", detail: detail.into() }
}

fn refused(index: usize) -> ItemError {
    let detail = "is larger than the log's topics take; whoever runs them may raise that";
    ItemError { index, field: String::new(), reason: "log_refused", detail: detail.into() }
}
