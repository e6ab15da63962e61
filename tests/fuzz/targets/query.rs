//! A URL's query is understood or has a code; what it asks for is within the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_core::limits::{AFTER_TOPICS_MAX, SUBSCRIBE_TEAMS_MAX};
use touchline_core::protocol::request::parse_query;

fuzz_target!(|input: &str| {
    match parse_query(input) {
        Ok(None) => {}
        Ok(Some(subscribe)) => {
            assert!((1..=SUBSCRIBE_TEAMS_MAX).contains(&subscribe.teams.len()));
            assert!(subscribe.id.is_none());
            assert!(!subscribe.streams.is_empty());
            let after = subscribe.resume.map_or(0, |resume| resume.after.len());
            assert!(after <= AFTER_TOPICS_MAX);
        }
        Err(error) => assert!(error.id.is_none() && error.message.len() < 400),
    }
});
