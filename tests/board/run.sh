#!/usr/bin/env bash
# The client and the live board: in plain Node, and in Chromium against a mock of the server and
# against the server itself. The two in Chromium run side by side: each waits more than it works.
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

real=
if [ -n "$TOUCHLINE_BIN" ]; then
    log="$(mktemp)"
    trap '[ -z "$real" ] || kill "$real" 2>/dev/null || true; rm -f "$log"' EXIT
    TOUCHLINE_BIN="$TOUCHLINE_BIN" node --test --test-concurrency=1 board.test.mjs line.test.mjs \
        >"$log" 2>&1 &
    real=$!
fi
failed=0
echo "== the board against the mock server"
TOUCHLINE_BIN='' node --test --test-concurrency=1 board.test.mjs line.test.mjs access.test.mjs \
    crowd.test.mjs || failed=1
if [ -n "$real" ]; then
    wait "$real" || failed=1
    real=
    echo "== the board against $TOUCHLINE_BIN"
    cat "$log"
fi
exit "$failed"
