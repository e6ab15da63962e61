#!/usr/bin/env bash
# nodes that share a log, on real brokers that are killed, stopped and moved
# limit_s: 1500
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
run_tests tests/kafka
