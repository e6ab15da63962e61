#!/usr/bin/env bash
# a short run of each fuzz target
# limit_s: 1500
# cores: 1
. "$(dirname "$0")/../env.sh"
tests/fuzz/run.sh "${TOUCHLINE_FUZZ_S:-10}"
