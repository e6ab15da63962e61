#!/usr/bin/env bash
# nodes that share a log, on real brokers that are killed, stopped and moved
# limit_s: 1500
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
# All begin at once, and each waits for its turn: see tests/kafka/main.rs.
export RUST_TEST_THREADS=64
run_tests tests/kafka
