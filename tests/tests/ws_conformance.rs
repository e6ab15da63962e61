//! Autobahn's 517 cases against the production handshake and parser: 301 pass, 216 compression offers are declined,
//! and with Touchline's own limit the 40 cases with larger messages are closed with 1009.
//!
//! `tests/conformance/run.sh` fetches the runner once and says what it lacks.

use std::path::Path;
use std::process::Command;

#[test]
fn autobahns_cases_pass_and_what_we_decline_is_declined() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/run.sh");
    let output = Command::new(script).arg(env!("CARGO_BIN_EXE_ws_echo")).output().unwrap();
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    println!("{said}{complained}");
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("301 passed, 216 compression offers declined, of 517"), "{said}");
    assert!(said.contains("40 closed with 1009, 261 passed"), "{said}");
}
