#!/usr/bin/env bash
# the live board in Chromium, and its client
# limit_s: 600
. "$(dirname "$0")/../env.sh"
tests/board/run.sh
