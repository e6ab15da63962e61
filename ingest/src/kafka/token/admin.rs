//! A token for clients of the admin kind, which never ask for one.
//!
//! rdkafka serves what librdkafka asks of an application where a client is polled, and polls a
//! client that makes topics only for its answers. So such a client is given its token when it is
//! made; it is gone again long before that expires.

#![allow(unsafe_code, reason = "rdkafka has no call that hands a token over")]

use std::ffi::CString;

use rdkafka::admin::AdminClient;
use rdkafka::bindings::rd_kafka_oauthbearer_set_token;
use rdkafka::client::OAuthToken;
use rdkafka::types::RDKafkaRespErr;

use super::super::client::Context;

/// For what librdkafka has to say against it.
const WORDS_MAX: usize = 256;

/// Hands `token` to `admin`.
///
/// # Errors
/// librdkafka's word.
pub fn give(admin: &AdminClient<Context>, token: &OAuthToken) -> Result<(), String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (value, principal) = (text(&token.token)?, text(&token.principal_name)?);
    let mut words = [0_u8; WORDS_MAX];
    // SAFETY: the client outlives the call; both strings end in a zero and are copied before it
    // returns; no extensions are given, so none are read; `words` is written within its length.
    let code = unsafe {
        rd_kafka_oauthbearer_set_token(
            admin.inner().native_ptr(),
            value.as_ptr(),
            token.lifetime_ms,
            principal.as_ptr(),
            std::ptr::null_mut(),
            0,
            words.as_mut_ptr().cast(),
            words.len(),
        )
    };
    if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Ok(());
    }
    let end = words.iter().position(|byte| *byte == 0).unwrap_or(words.len());
    Err(String::from_utf8_lossy(&words[..end]).into_owned())
}
