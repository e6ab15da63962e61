#!/usr/bin/env bash
# Autobahn's cases against the frame parser
# limit_s: 900
. "$(dirname "$0")/../env.sh"
tests/conformance/run.sh
