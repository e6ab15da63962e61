#!/usr/bin/env bash
# Builds the appliance and starts a match day in it. Arguments go to `touchline demo`.
. "$(dirname "$0")/env.sh"

scripts/setup.sh build
offline_if_complete
binary="$CARGO_TARGET_DIR/release/touchline"
[ -x "$binary" ] || say "building touchline; the first time takes some minutes"
cargo build --release --package touchline --bin touchline
exec "$binary" demo "$@"
