#!/usr/bin/env bash
# Autobahn's cases against the shard: its parser and its way to the kernel
# limit_s: 900
# needs: 15-build
# cores: 1
. "$(dirname "$0")/../tested.sh"
# The debug build runs the suite in half a minute; a release build of it alone takes longer.
tests/conformance/run.sh "$TESTED/ws_echo"
