#!/usr/bin/env bash
# the hub in worlds made from seeds: a fixed set, then new ones for a minute
# limit_s: 900
# needs: 15-build
# cores: 1
. "$(dirname "$0")/../tested.sh"
simulate="$TESTED/simulate"
log="$CARGO_TARGET_DIR/new-seeds.log"
"$simulate" --from 0 --count "${TOUCHLINE_WORLDS:-200}"
# A new seed that fails is a find, told with the command that shows it again; it blames no change.
if ! "$simulate" --seconds "${TOUCHLINE_SEEDS_S:-60}" >"$log" 2>&1; then
    cat "$log"
    echo "new seed: one failed: $(grep -m 1 -i seed "$log")"
fi
rm -f "$log"
