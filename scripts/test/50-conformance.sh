#!/usr/bin/env bash
# Autobahn's cases against the shard: its parser and its way to the kernel
# limit_s: 900
. "$(dirname "$0")/../env.sh"
# The debug build runs the suite in half a minute; a release build of it alone takes longer.
cargo build --package touchline-tests --features echo --bin ws_echo
tests/conformance/run.sh "$CARGO_TARGET_DIR/debug/ws_echo"
