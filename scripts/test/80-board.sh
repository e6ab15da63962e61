#!/usr/bin/env bash
# the live board in Chromium, and its client
# limit_s: 900
. "$(dirname "$0")/../env.sh"
tests/board/run.sh
