//! What becomes of each message that was sent.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use touchline_core::log::{AppendError, Outcome, Position};

use super::client::Context;
use super::door::New;
use super::flight::Flight;
use super::line::Load;
use super::sender::Sender;
use super::state::{Shared, lock};

/// A message's ticket: whose it is, and where it counts.
pub(super) struct Ticket {
    pub flight: Arc<Flight>,
    pub new: New,
}

/// What is told of each message, on the producer's own thread.
pub(super) struct Deliveries {
    pub context: Context,
    pub shared: Arc<Shared>,
    pub load: Arc<Load>,
    pub sender: Weak<Sender>,
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
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.load.fail(reason);
        }
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let result = match result {
            Ok(message) => Ok(Position {
                lane: ticket.new.lane,
                seq: u64::try_from(message.offset()).unwrap_or(0),
            }),
            Err((error, _)) => Err(said(error, ticket.new.index)),
        };
        if result.is_err() {
            self.load.lose();
        }
        // Whoever waits must not panic; one who does must not keep its lane from others.
        let told = || settle(&self.shared, &ticket.flight, ticket.new, result);
        if catch_unwind(AssertUnwindSafe(told)).is_err() {
            tracing::error!("who waited for an append panicked when it was answered");
        }
        if let Some(sender) = self.sender.upgrade() {
            sender.landed(ticket.new.lane);
        }
    }
}

/// Tells whoever waits for `new`: its own batch, and twins of it.
pub(super) fn settle(
    shared: &Shared,
    flight: &Flight,
    new: New,
    result: Result<Position, AppendError>,
) {
    let twins = lock(&shared.door).landed(new.identity, result.as_ref().ok().copied());
    match &result {
        Ok(_) => {
            shared.stats.add_outcomes(1, twins.len() as u64, 0);
            shared.pulse.acknowledged(true);
        }
        Err(error) => {
            shared.stats.add_failed();
            if matches!(error, AppendError::Unknown(_)) {
                shared.pulse.acknowledged(false);
            }
        }
    }
    for (twin, index) in twins {
        let of_twin = |error| match error {
            AppendError::Refused(_) => AppendError::Refused(vec![index]),
            error => error,
        };
        twin.settle(index, result.clone().map(|_| Outcome::Duplicate).map_err(of_twin));
    }
    flight.settle(new.index, result.map(Outcome::Accepted));
}

/// What the source of the event `index` of a batch is told.
pub(super) fn said(error: &KafkaError, index: usize) -> AppendError {
    match error.rdkafka_error_code() {
        // The event's own fault: sending it again changes nothing.
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord) => {
            AppendError::Refused(vec![index])
        }
        Some(RDKafkaErrorCode::QueueFull) => AppendError::Busy,
        _ => AppendError::Unknown(error.to_string().into()),
    }
}
