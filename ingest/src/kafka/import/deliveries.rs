//! What brokers say of each message of a batch.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::super::client::Context;
use super::super::state::lock;

/// What has become of a batch so far.
#[derive(Default)]
pub(in super::super) struct State {
    /// Not told of yet.
    pub left: usize,
    /// The first that wasn't taken, by its number in the batch.
    pub failed: Option<(usize, KafkaError)>,
    /// One above the last record of each partition.
    pub ends: HashMap<(String, i32), u64>,
}

/// Told of each message.
pub(in super::super) struct Deliveries {
    pub context: Context,
    pub state: Arc<Mutex<State>>,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, of: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.context.generate_oauth_token(of)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, n: usize) {
        let mut state = lock(&self.state);
        state.left = state.left.saturating_sub(1);
        match result {
            Ok(message) => {
                let next = u64::try_from(message.offset()).map_or(0, |offset| offset + 1);
                let place = (message.topic().to_owned(), message.partition());
                let end = state.ends.entry(place).or_default();
                *end = (*end).max(next);
            }
            Err((error, _)) => drop(state.failed.get_or_insert((n, error.clone()))),
        }
    }
}
