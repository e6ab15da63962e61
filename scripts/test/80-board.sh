#!/usr/bin/env bash
# the live board in Chromium, and its client
# limit_s: 900
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
TOUCHLINE_BIN="$TOUCHLINE_BINARY" tests/board/run.sh
