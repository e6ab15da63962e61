#!/usr/bin/env bash
# nine thousand clients behind a real HAProxy, over two nodes
# limit_s: 900
# needs: 15-build
. "$(dirname "$0")/../tested.sh"
run_tests tests/haproxy
