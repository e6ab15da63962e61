#!/usr/bin/env bash
# Runs Autobahn's WebSocket cases (PyPI `kosoku`) against the echo server of tests/src/bin/ws_echo.rs.
#
#   tests/conformance/run.sh [ECHO_BINARY]
#   tests/conformance/run.sh fetch           only puts the runner in place
#
# Without ECHO_BINARY it is built. The runner lives in a virtual environment below $TOUCHLINE_CACHE (by default
# ~/.cache/touchline), made once; from then on no network is needed. $TOUCHLINE_PYTHON names another Python than
# python3; 3.10 or newer is needed.
set -euo pipefail

kosoku_version=0.1.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOUCHLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/touchline}
python=${TOUCHLINE_PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "conformance: $python is missing or older than 3.10; name another in TOUCHLINE_PYTHON" >&2
    exit 1
fi
python_version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
venv=$cache/tools/kosoku-$kosoku_version-py$python_version

# Made aside and moved into place whole, so that neither an interruption nor a second run leaves half of one.
if [ ! -x "$venv/bin/python" ]; then
    mkdir -p "$cache/tools"
    fresh=$(mktemp -d "$cache/tools/kosoku.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    if ! "$python" -m venv "$fresh"; then
        echo "conformance: $python can't make virtual environments; install python3-venv" >&2
        exit 1
    fi
    "$fresh/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        "kosoku==$kosoku_version"
    mv -T "$fresh" "$venv" 2>/dev/null || [ -x "$venv/bin/python" ]
    rm -rf "$fresh"
fi

[ "${1:-}" != fetch ] || exit 0
if [ $# -gt 0 ]; then
    echo_binary=$1
else
    target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../Cargo.toml" |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
    cargo build --quiet --manifest-path "$here/../Cargo.toml" \
        --package touchline-tests --features echo --bin ws_echo
    echo_binary=$target/debug/ws_echo
fi

exec timeout 600 "$venv/bin/python" "$here/autobahn.py" "$echo_binary"
