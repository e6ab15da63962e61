#!/usr/bin/env bash
# Autobahn's cases against the frame parser
# limit_s: 900
. "$(dirname "$0")/../env.sh"
# The debug build runs the suite in half a minute; a release build of it alone takes longer.
cargo build --package touchline-tests --bin ws_echo
tests/conformance/run.sh "$CARGO_TARGET_DIR/debug/ws_echo"
