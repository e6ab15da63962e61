//! One append on its way: as many answers as it has events, and one reply when all are in.
//!
//! A batch is told of as a whole (R14): accepted once every event of it is durable or known, failed
//! as soon as it is clear that one isn't, but not before all are settled, so that nothing of it is
//! still under way when its source comes back.

use std::sync::{Mutex, PoisonError};

use touchline_core::log::{AppendError, AppendReply, Outcome};

/// A batch whose outcome isn't known yet.
pub(super) struct Flight {
    state: Mutex<State>,
}

struct State {
    outcomes: Vec<Outcome>,
    error: Option<AppendError>,
    left: usize,
    reply: Option<AppendReply>,
    refusals_first: bool,
    /// Something of it is in the log.
    has_landed: bool,
}

impl State {
    /// The first error is told, except that of all that brokers refuse for what they are each is
    /// named; an outcome that isn't known comes before that, since it asks to send again, and
    /// before one that says that nothing was sent.
    fn fail(&mut self, error: AppendError) {
        match (&mut self.error, error) {
            (Some(AppendError::Refused(all)), AppendError::Refused(more)) => all.extend(more),
            (Some(AppendError::Refused(_)), other) if !self.refusals_first => {
                self.error = Some(other);
            }
            (Some(_), AppendError::Refused(items)) if self.refusals_first => {
                self.error = Some(AppendError::Refused(items));
            }
            (Some(AppendError::Busy), unknown @ AppendError::Unknown(_)) => {
                self.error = Some(unknown);
            }
            (Some(_), _) => {}
            (None, error) => self.error = Some(error),
        }
    }
}

impl Flight {
    /// Of `outcomes.len()` events, of which `left` have yet to be settled; the outcomes of the
    /// others stand.
    pub fn new(outcomes: Vec<Outcome>, left: usize, reply: AppendReply) -> Self {
        let (reply, refusals_first) = (Some(reply), false);
        let (error, has_landed) = (None, false);
        let state = State { outcomes, error, left, reply, refusals_first, has_landed };
        Self { state: Mutex::new(state) }
    }

    /// What brokers refuse is told before what isn't known.
    pub fn put_refusals_first(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refusals_first = true;
    }

    /// The event `index` has become durable, or hasn't. The last one to be settled gives the reply,
    /// on the caller's thread.
    pub fn settle(&self, index: usize, result: Result<Outcome, AppendError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(outcome) => {
                state.outcomes[index] = outcome;
                state.has_landed = true;
            }
            Err(error) => state.fail(error),
        }
        state.left -= 1;
        if state.left > 0 {
            return;
        }
        let answer = match state.error.take() {
            Some(AppendError::Busy) if state.has_landed => {
                Err(AppendError::Unknown("a part of it is in the log".into()))
            }
            Some(error) => Err(error),
            None => Ok(std::mem::take(&mut state.outcomes)),
        };
        let reply = state.reply.take();
        drop(state);
        if let Some(reply) = reply {
            reply(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, mpsc};
    use touchline_core::log::{Lane, Position};

    type Answers = mpsc::Receiver<Result<Vec<Outcome>, AppendError>>;

    fn flight(left: usize) -> (Arc<Flight>, Answers) {
        let (told, answers) = mpsc::channel();
        let reply = Box::new(move |answer| told.send(answer).unwrap());
        (Arc::new(Flight::new(vec![Outcome::Duplicate; 3], left, reply)), answers)
    }

    fn accepted(seq: u64) -> Outcome {
        Outcome::Accepted(Position { lane: Lane(0), seq })
    }

    #[test]
    fn the_reply_comes_once_all_are_settled_in_whatever_order() {
        let (flight, answers) = flight(2);
        flight.settle(2, Ok(accepted(5)));
        assert!(answers.try_recv().is_err(), "one is under way");
        flight.settle(0, Ok(accepted(4)));
        let expected = vec![accepted(4), Outcome::Duplicate, accepted(5)];
        assert_eq!(answers.try_recv().unwrap(), Ok(expected));
    }

    #[test]
    fn all_that_brokers_refuse_are_named_unless_something_is_unknown() {
        let refused = |index| Err(AppendError::Refused(vec![index]));
        let (flight, answers) = self::flight(3);
        flight.settle(2, refused(2));
        flight.settle(1, Ok(accepted(3)));
        flight.settle(0, refused(0));
        assert_eq!(answers.try_recv().unwrap(), Err(AppendError::Refused(vec![2, 0])));
        let (flight, answers) = self::flight(2);
        flight.settle(0, refused(0));
        flight.settle(1, Err(AppendError::Unknown("late".into())));
        assert_eq!(answers.try_recv().unwrap(), Err(AppendError::Unknown("late".into())));
    }

    #[test]
    fn one_that_fails_fails_all_and_the_first_error_is_told() {
        let (flight, answers) = flight(3);
        flight.settle(1, Err(AppendError::Busy));
        flight.settle(0, Ok(accepted(4)));
        assert!(answers.try_recv().is_err(), "nothing is told while something is under way");
        flight.settle(2, Err(AppendError::Closed));
        let told = answers.try_recv().unwrap();
        assert!(matches!(told, Err(AppendError::Unknown(_))), "one is in: {told:?}");
    }

    #[test]
    fn what_was_not_sent_says_so_only_where_nothing_else_was() {
        let (flight, answers) = self::flight(2);
        flight.settle(1, Err(AppendError::Busy));
        flight.settle(0, Err(AppendError::Busy));
        assert_eq!(answers.try_recv().unwrap(), Err(AppendError::Busy));
        let (flight, answers) = self::flight(2);
        flight.settle(1, Err(AppendError::Busy));
        flight.settle(0, Err(AppendError::Unknown("late".into())));
        assert_eq!(answers.try_recv().unwrap(), Err(AppendError::Unknown("late".into())));
    }

    #[test]
    fn who_begins_again_is_told_of_refusals_whatever_else_is_unknown() {
        for order in [[0, 1], [1, 0]] {
            let (flight, answers) = flight(3);
            flight.put_refusals_first();
            for index in order {
                let unknown = AppendError::Unknown("lost".into());
                let error = if index == 0 { AppendError::Refused(vec![0]) } else { unknown };
                flight.settle(index, Err(error));
            }
            flight.settle(2, Ok(accepted(4)));
            assert_eq!(answers.try_recv().unwrap(), Err(AppendError::Refused(vec![0])));
        }
    }
}
