# Sourced by every script: where things are kept, and how to speak. Not to be run.
#
#   TOUCHLINE_CACHE   tools and, for .ci/run, what was built; by default a cache folder of the user
#   CARGO_TARGET_DIR  what was built; by default ./target

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export TOUCHLINE_CACHE="${TOUCHLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/touchline}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$ROOT/target}"
export PATH="$TOUCHLINE_CACHE/tools/bin:$PATH"
cd "$ROOT"

say() { printf '%s\n' "$*"; }

# die WHAT HINT: one sentence on what is wrong, one on what to do.
die() {
    printf 'touchline: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '           %s\n' "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Runs with the rights of root, or says what somebody who has them must run.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        # Behind a proxy the network is reached by these alone.
        sudo --preserve-env=http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY "$@"
    else
        die "this needs root, and there is no sudo" "as root, run: $*"
    fi
}

# The network is asked only for what is not there: with a full registry cargo is told to stay off it.
offline_if_complete() {
    if cargo fetch --locked --offline >/dev/null 2>&1; then
        export CARGO_NET_OFFLINE=true
    fi
}
