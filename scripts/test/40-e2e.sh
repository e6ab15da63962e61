#!/usr/bin/env bash
# the running binary: from a signed webhook to the sockets, its commands, its faults
# limit_s: 1500
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
# Each tick of a source is judged, and how soon a server is ready.
judged=(tests/sources tests/e2e_kill)
run_tests "${judged[@]}"
# The rest waits more than it works.
export RUST_TEST_THREADS=4
run_tests --at-once 2 'server/*' 'tests/*' \
    but "${judged[@]}" tests/bench tests/haproxy tests/kafka tests/laws
