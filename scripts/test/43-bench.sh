#!/usr/bin/env bash
# the load bench: its scenarios, its faults, what a delivery costs beside a floor
# limit_s: 1500
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
run_tests tests/bench
