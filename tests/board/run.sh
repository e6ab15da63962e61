#!/usr/bin/env bash
# The client and the live board: in plain Node, and in Chromium against a mock of the server and
# against the server itself. What runs in Chromium runs side by side: each waits more than it works.
#
#   tests/board/run.sh
#
# Needs Node 18.20 or later, Chromium (CHROMIUM, else /usr/bin/chromium), `npm ci` in this folder.
#   TOUCHLINE_BIN   the server's binary; unset: built by cargo; empty: the mock alone
set -euo pipefail
cd "$(dirname "$0")"

[ -d node_modules/playwright-core ] || npm ci --no-audit --no-fund --silent

if [ -z "${TOUCHLINE_BIN+set}" ]; then
    cargo build --quiet --locked --package touchline --manifest-path ../../Cargo.toml
    TOUCHLINE_BIN="${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}/debug/touchline"
fi

echo "== the client and the model, in Node"
node --test client.test.mjs resume.test.mjs model.test.mjs senses.test.mjs sessions.test.mjs

logs="$(mktemp -d)"
lanes=()
trap '[ ${#lanes[@]} = 0 ] || kill "${lanes[@]}" 2>/dev/null || true; rm -rf "$logs"' EXIT

# lane BINARY FILE...: these files, one after the other, against the server or (empty) the mock.
lane() {
    local binary="$1"
    shift
    {
        echo "== the board against ${binary:-the mock server}: $*"
        TOUCHLINE_BIN="$binary" exec node --test --test-concurrency=1 "$@"
    } >"$logs/${#lanes[@]}" 2>&1 &
    lanes+=($!)
}
lane '' board.test.mjs
lane '' line.test.mjs access.test.mjs crowd.test.mjs
[ -z "$TOUCHLINE_BIN" ] || lane "$TOUCHLINE_BIN" board.test.mjs line.test.mjs

failed=0
for number in "${!lanes[@]}"; do
    wait "${lanes[$number]}" || failed=1
    cat "$logs/$number"
done
exit "$failed"
