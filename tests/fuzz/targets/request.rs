//! A message is understood or has a code; what is understood is JSON to others as well.
#![no_main]

use libfuzzer_sys::fuzz_target;
use touchline_core::protocol::ErrorCode;
use touchline_core::protocol::request::parse_message;

fuzz_target!(|input: &[u8]| {
    let others = serde_json::from_slice::<serde_json::Value>(input);
    match parse_message(input) {
        Ok(message) => {
            let object = others.expect("what we read is JSON");
            assert!(object.is_object() && object.get("op").is_some(), "{message:?}");
        }
        Err(error) => {
            assert!(error.message.len() < 400, "{}", error.message);
            // A lone surrogate or a number beyond f64 is bad JSON to them, and a bad field to us.
            if others.is_ok_and(|value| value.is_object()) {
                assert_ne!(error.code, ErrorCode::BadJson, "{}", error.message);
            }
        }
    }
});
