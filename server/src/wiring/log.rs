//! Opening the log: the journal or Kafka, and telling what was found.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use touchline_ingest::kafka::KafkaLog;
use touchline_store::dead::DeadKeeper;
use touchline_store::journal::{Journal, OpenError, OpenReport};

use super::StartError;
use super::porter::Awaited;
use crate::config::Options;
use crate::node_log::NodeLog;
use crate::spool::Spool;

/// The log, and how it is kept.
pub(super) fn open_log(
    options: &Options,
    dead: &Arc<DeadKeeper>,
    is_stopped: &AtomicBool,
    awaited: &Awaited,
) -> Result<(NodeLog, Arc<str>), StartError> {
    let Some(kafka) = &options.kafka else {
        let (journal, report) = open_journal(options)?;
        return Ok((NodeLog::Journal(journal), report.backend));
    };
    let is_stopped = || is_stopped.load(Ordering::Relaxed);
    let tell = |trouble: &str| awaited.because(trouble);
    let opened = KafkaLog::open_telling(kafka, dead.clone(), is_stopped, tell);
    let (log, report) = opened.map_err(StartError::Kafka)?;
    tracing::info!(
        brokers = kafka.brokers,
        epoch = format!("{:016x}", report.epoch.0),
        generation = report.generation,
        lanes = report.lanes,
        records_read = report.records_read,
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "the log is read"
    );
    let place = format!("Kafka at {}", kafka.brokers);
    let Some(settings) = &options.spool else { return Ok((NodeLog::Kafka(log), place.into())) };
    let spool = Spool::open(settings, &log, dead.clone())
        .inspect_err(|_| NodeLog::Kafka(log.clone()).close())?;
    let place = format!("{place}, spooled on {}", settings.journal.dir.display());
    Ok((NodeLog::Spooled(log, Arc::new(spool)), place.into()))
}

fn open_journal(options: &Options) -> Result<(Arc<Journal>, OpenReport), StartError> {
    let folder = &options.data_dir;
    try_folder(folder).map_err(|error| StartError::DataFolder { folder: folder.clone(), error })?;
    let opened = Journal::open(options.journal.clone());
    let (journal, report) = opened.map_err(|error| match error {
        OpenError::Folder { dir, error } => StartError::DataFolder { folder: dir, error },
        error => StartError::Journal(error),
    })?;
    tell(&report);
    Ok((journal, report))
}

/// Makes the folder, and a file in it for a moment: a mode alone doesn't tell what a mount or a
/// quota allows. A disk that is merely full is the journal's to deal with: sources are refused, who
/// resumes is served (R13).
fn try_folder(folder: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let written = std::fs::write(&probe, b"touchline");
    let is_full = |error: &std::io::Error| matches!(error.kind(), StorageFull | QuotaExceeded);
    match (written, std::fs::remove_file(&probe)) {
        (Err(error), _) if is_full(&error) => Ok(()),
        (written, removed) => written.and(removed),
    }
}

fn tell(report: &OpenReport) {
    tracing::info!(
        disk = %report.backend,
        epoch = report.epoch.map(|epoch| format!("{:016x}", epoch.0)),
        first = report.first,
        next = report.next,
        records_scanned = report.records_scanned,
        records_rewritten = report.records_rewritten,
        dedupe_entries = report.dedupe_entries,
        took_ms = u64::try_from(report.took.as_millis()).unwrap_or(u64::MAX),
        "the journal is open"
    );
    if let Some(reason) = report.epoch_reason.filter(|_| report.next > 0) {
        tracing::warn!(reason, "the journal began a new life: clients are told of a gap");
    }
    if report.torn_bytes > 0 {
        tracing::warn!(bytes = report.torn_bytes, "a torn tail was cut off the journal");
    }
    for (file, offset) in &report.quarantined {
        tracing::error!(%file, offset, "a damaged segment was set aside: see `touchline log \
         verify`");
    }
}
