#!/usr/bin/env bash
# what each crate says about itself
# limit_s: 1500
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
measure=('bench/*' fanout/busy_shard fanout/hub_costs fanout/pinning)
run_tests "${measure[@]}"
# The rest waits more than it works.
export RUST_TEST_THREADS=4
run_tests --at-once 2 '*' but "${measure[@]}" 'server/*' 'tests/*'
