//! `[log.kafka]` as the log wants it: files found, the password read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use touchline_ingest::kafka::{KafkaOptions, Sasl, Security, Tls};
use touchline_store::journal::JournalOptions;

use super::Problem;
use super::raw::Raw;
use super::units::seconds;
use crate::limits::{SECRETS_FILE_BYTES_MAX, SPOOL_SEGMENT_BYTES};
use crate::spool::{SPOOL_FOLDER, SpoolSettings};

/// Where a node notes how far it has read of Kafka, below the data folder.
const NOTES_FILE: &str = "kafka-seen.json";

/// Resolves it. `folders` is what relative files are relative to, a token's apart from the others.
/// The password is read only where Kafka is the log.
pub(super) fn build(
    raw: &Raw,
    node: &str,
    (folder, of_token): (&Path, &Path),
) -> Result<KafkaOptions, Problem> {
    let kafka = &raw.log.kafka;
    let options = KafkaOptions {
        brokers: kafka.brokers.clone(),
        prefix: kafka.topic_prefix.clone(),
        node: node.into(),
        partitions: kafka.partitions,
        replication: kafka.replication,
        in_sync_min: kafka.in_sync_min,
        retention: seconds(kafka.retention_s),
        creates_topics: kafka.creates_topics,
        letters: kafka.dead_letter_topics,
        letters_retention: seconds(raw.dead_letters.age_max_s),
        letter_bytes_max: raw.dead_letters.letter_bytes_max.as_usize(),
        dedupe_entries_max: raw.log.dedupe_entries_max,
        pending_bytes_max: raw.log.pending_bytes_max.as_usize(),
        deliver_max: seconds(kafka.deliver_s_max),
        lag_records_max: kafka.lag_records_max,
        notes_file: Some(raw.node.data_dir.join(NOTES_FILE)),
        security: Security { tls: tls(raw, folder)?, sasl: sasl(raw, folder, of_token)? },
        ..KafkaOptions::default()
    };
    options.check().map_err(|error| Problem::Unfit(format!("[log.kafka]: {error}")))?;
    if options.deliver_max + Duration::from_millis(500) > seconds(raw.ingest.append_timeout_s) {
        return Err(Problem::Unfit(
            "`log.kafka.deliver_s_max` must be half a second below `ingest.append_timeout_s`: \
             else a webhook is answered before its outcome is known"
                .into(),
        ));
    }
    Ok(options)
}

/// What takes events while it is away, if that is wanted: a journal of its own, in small segments,
/// of which nothing is kept that was handed on.
pub(super) fn spool(
    raw: &Raw,
    journal: &JournalOptions,
    kafka: &KafkaOptions,
) -> Option<SpoolSettings> {
    let section = &raw.log.kafka;
    section.spool.then(|| SpoolSettings {
        journal: JournalOptions {
            dir: raw.node.data_dir.join(SPOOL_FOLDER),
            segment_bytes: journal.segment_bytes.min(SPOOL_SEGMENT_BYTES),
            retention_bytes: 2 * SPOOL_SEGMENT_BYTES,
            dedupe_windows: kafka.windows,
            ..journal.clone()
        },
        bytes_max: section.spool_bytes_max.0,
        age_max: seconds(section.spool_age_max_s),
        windows: kafka.windows,
    })
}

fn tls(raw: &Raw, folder: &Path) -> Result<Option<Tls>, Problem> {
    let kafka = &raw.log.kafka;
    if !kafka.tls || raw.log.kind != "kafka" {
        return Ok(None);
    }
    // librdkafka's own word for a file that isn't there doesn't name it.
    let file = |key: &str, path: &PathBuf| {
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let file = folder.join(path);
        std::fs::File::open(&file).map_err(|error| {
            Problem::Unfit(format!("`log.kafka.{key}`: {}: {error}", file.display()))
        })?;
        Ok(Some(file))
    };
    Ok(Some(Tls {
        ca_file: file("ca_file", &kafka.ca_file)?,
        cert_file: file("cert_file", &kafka.cert_file)?,
        key_file: file("key_file", &kafka.key_file)?,
    }))
}

fn sasl(raw: &Raw, folder: &Path, of_token: &Path) -> Result<Option<Sasl>, Problem> {
    let kafka = &raw.log.kafka;
    if kafka.sasl_mechanism == "none" || raw.log.kind != "kafka" {
        return Ok(None);
    }
    if kafka.sasl_mechanism == "OAUTHBEARER" {
        return by_token(raw, of_token).map(Some);
    }
    let unfit = |text: String| Problem::Unfit(format!("`log.kafka.sasl_password_file`: {text}"));
    if kafka.sasl_password_file.as_os_str().is_empty() {
        return Err(unfit("name the file that holds the password".into()));
    }
    let file = folder.join(&kafka.sasl_password_file);
    let failed = |error: std::io::Error| unfit(format!("{}: {error}", file.display()));
    if std::fs::metadata(&file).map_err(failed)?.len() > SECRETS_FILE_BYTES_MAX {
        return Err(unfit(format!("{} is too large for a password", file.display())));
    }
    let password = std::fs::read_to_string(&file).map_err(failed)?;
    Ok(Some(Sasl {
        mechanism: kafka.sasl_mechanism.clone(),
        user: kafka.sasl_user.clone(),
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
        token_file: None,
    }))
}

/// Whether a token stands there is found out when it is wanted: whoever writes it may be later than
/// we are.
fn by_token(raw: &Raw, folder: &Path) -> Result<Sasl, Problem> {
    let kafka = &raw.log.kafka;
    if kafka.sasl_token_file.as_os_str().is_empty() {
        return Err(Problem::Unfit(
            "`log.kafka.sasl_token_file`: name the file that holds a token: `OAUTHBEARER` needs one"
                .into(),
        ));
    }
    Ok(Sasl {
        mechanism: kafka.sasl_mechanism.clone(),
        user: kafka.sasl_user.clone(),
        password: String::new(),
        token_file: Some(folder.join(&kafka.sasl_token_file)),
    })
}
