#!/usr/bin/env bash
# the running binary: from a signed webhook to the sockets, its commands, its faults
# limit_s: 2400
. "$(dirname "$0")/../env.sh"
cargo build --workspace --bins
cargo test --package touchline
cargo test --package touchline-tests
