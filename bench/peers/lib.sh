# Sourced by every install.sh, from the folder of its peer. Not to be run.
#
#   TOUCHLINE_CACHE  what is downloaded and built goes below $TOUCHLINE_CACHE/peers; by default a
#                    cache folder of the user
#
# An install is stamped with a hash of the peer's files. `installed` ends the script at once when
# the stamp is right, so that a second run costs milliseconds and no network.

set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)"
name="$(basename "$here")"
peers="${TOUCHLINE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/touchline}/peers"
into="$peers/$name"
NETWORK_TIMEOUT_S=900

say() { printf 'peers: %s: %s\n' "$name" "$*" >&2; }

# die WHAT HINT: one sentence on what is wrong, one on what to do.
die() {
    say "$1"
    [ $# -lt 2 ] || printf '       %s\n' "$2" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Documents may change without a new install.
stamp() {
    (
        cd "$here"
        find . ../lib.sh -type f ! -name '*.md' | LC_ALL=C sort | xargs sha256sum | sha256sum
    )
}

# Ends the script if all is there; else waits for a running install and leaves an empty folder.
begin() {
    mkdir -p "$peers"
    installed
    exec 9>"$peers/$name.lock"
    flock 9
    installed
    rm -rf "$into"
    mkdir -p "$into"
}

installed() { [ "$(cat "$into/.stamp" 2>/dev/null)" != "$(stamp)" ] || exit 0; }

# finish VERSION: what was installed, for people and results.
finish() {
    printf '%s\n' "$1" >"$into/version"
    stamp >"$into/.stamp"
}

# What package-lock.json in $into says. Scripts of packages aren't run: they would download.
npm_ci() {
    (cd "$into" && timeout "$NETWORK_TIMEOUT_S" \
        npm ci --ignore-scripts --no-audit --no-fund --silent) \
        || die "npm ci failed" "is the network there? run it by hand in a copy of $here"
}

# unpack_debs PACKAGE...: their files below $into. No service is started, nothing is installed.
unpack_debs() {
    have apt-get || die "this needs Debian's packages $*" "run it on Debian or Ubuntu"
    local debs="$into/debs"
    mkdir -p "$debs"
    download_debs "$@" || { update_lists && download_debs "$@"; } \
        || die "apt-get could not download $*" "is the network there? run: apt-get download $*"
    for deb in "$debs"/*.deb; do
        dpkg-deb -x "$deb" "$into"
        dpkg-deb --show --showformat='${Package} ${Version}\n' "$deb" >>"$into/packages"
    done
    rm -rf "$debs"
}

# upstream PACKAGE: the version that its authors gave it, of a package that was unpacked.
upstream() { sed -nE "s/^$1 ([0-9]+:)?([0-9.]+).*/\2/p" "$into/packages"; }

download_debs() {
    # The folder is the user's own, where apt's helper account could not write.
    (cd "$debs" && timeout "$NETWORK_TIMEOUT_S" apt-get download -qq \
        -o APT::Sandbox::User="$(id -un)" "$@" >/dev/null 2>&1)
}

update_lists() {
    say "apt-get update"
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo timeout "$NETWORK_TIMEOUT_S" apt-get update -qq >/dev/null
}

# expect PACKAGE VERSION: a release of Debian holds one version, which can be named but not chosen.
expect() {
    [ "$(upstream "$1")" = "$2" ] \
        || say "this system holds $1 $(upstream "$1"); what is written here was tried with $2"
}

# need_libraries PROGRAM [FOLDER]: ends if shared libraries are missing, on the host and in FOLDER.
need_libraries() {
    local missing
    missing="$(LD_LIBRARY_PATH="${2:-}" ldd "$1" | awk '/not found/ { print $1 }')"
    [ -z "$missing" ] || die "$(basename "$1") lacks" $missing "install the packages that hold them"
}
