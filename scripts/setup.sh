#!/usr/bin/env bash
# Puts in place what building or testing needs. Each thing is looked for first, so that a second run
# takes a second and no network.
#
#   scripts/setup.sh build   Rust and a C compiler, and the crates: enough for `make run`
#   scripts/setup.sh check   no more than that
#   scripts/setup.sh all     what `make test` uses as well
#
# Nothing is started on this host: Debian packages that carry a service are unpacked, not installed.
. "$(dirname "$0")/env.sh"

RUST_MIN=1.95
CARGO_FUZZ=0.13.1
APT_TIMEOUT_S=900
APT_UPDATED=

# ------------------------------------------------------------------ Debian

apt_update_once() {
    [ -z "$APT_UPDATED" ] || return 0
    say "setup: apt-get update"
    as_root timeout "$APT_TIMEOUT_S" apt-get update -qq \
        || die "apt-get update failed" "is the network there? scripts/setup.sh can simply be run again"
    APT_UPDATED=yes
}

# apt_install WHAT-FOR PACKAGE...
apt_install() {
    local what="$1"
    shift
    have apt-get || die "$what is missing" "install it by this system's means: $*"
    apt_update_once
    say "setup: installing $* ($what)"
    local log="$TOUCHLINE_CACHE/apt-install.log"
    as_root timeout "$APT_TIMEOUT_S" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 \
        || die "apt-get could not install $*" "$log tells why: $(tail -n 1 "$log")"
}

# unpack_deb PACKAGE [PROGRAM]: the program alone, without the package's service.
unpack_deb() {
    local package="$1" program="${2:-}" into="$TOUCHLINE_CACHE/tools/deb/$1"
    have apt-get || die "${program:-$package} is missing" "install $package by this system's means"
    apt_update_once
    say "setup: unpacking ${program:+$program out of }Debian's $package"
    rm -rf "$into" && mkdir -p "$into"
    (
        # The folder is the user's own: apt's helper account could not write there.
        cd "$into" \
            && timeout "$APT_TIMEOUT_S" apt-get download -qq \
                -o APT::Sandbox::User="$(id -un)" "$package" >/dev/null \
            && dpkg-deb -x ./*.deb . \
            && rm -f ./*.deb
    ) \
        || die "$package could not be unpacked into $into" "is the network there? is the disk full?"
    [ -z "$program" ] || link_tool "$into/usr/bin/$program"
}

link_tool() {
    mkdir -p "$TOUCHLINE_CACHE/tools/bin"
    ln -sfn "$1" "$TOUCHLINE_CACHE/tools/bin/$(basename "$1")"
}

# ------------------------------------------------------------------ what is needed, one by one

need_rust() {
    have cargo || die "there is no cargo" "install Rust $RUST_MIN or newer (rustup, or by hand), then run this again"
    local version
    version="$(rustc --version | sed -E 's/^rustc ([0-9]+\.[0-9]+).*/\1/')"
    [ "$(printf '%s\n' "$RUST_MIN" "$version" | sort -V | head -n 1)" = "$RUST_MIN" ] \
        || die "Rust $version is too old" "Touchline needs Rust $RUST_MIN or newer"
}

need_compiler() {
    if ! have cc || ! have c++ || ! have make; then
        apt_install "a C compiler" build-essential
    fi
    have pkg-config || apt_install "pkg-config" pkg-config
    # librdkafka is built from its sources, which its crate brings along.
    pkg-config --exists openssl zlib || apt_install "TLS and zlib, for the Kafka client" libssl-dev zlib1g-dev
    have git || apt_install "git" git
}

# need_crates MANIFEST
need_crates() {
    cargo fetch --locked --offline --manifest-path "$1" >/dev/null 2>&1 && return 0
    say "setup: fetching the crates of $1"
    timeout 900 cargo fetch --quiet --manifest-path "$1" \
        || die "the crates of $1 could not be fetched" "is the network there?"
}

need_lints() {
    cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 \
        || die "rustfmt or clippy is missing" "rustup component add rustfmt clippy"
}

need_python() {
    have python3 && python3 -c 'import venv, ensurepip' >/dev/null 2>&1 \
        || apt_install "Python with venv, for the conformance suite" python3 python3-venv
    timeout 300 tests/conformance/run.sh fetch \
        || die "the conformance suite's runner could not be fetched" "is the network there?"
}

need_browser() {
    have chromium || apt_install "Chromium, for the tests of the board" chromium
    have node && have npm || apt_install "Node.js, for the tests of the board" nodejs npm
}

need_board_modules() {
    [ -f tests/board/package-lock.json ] || return 0
    local stamp="tests/board/node_modules/.touchline-lock"
    cmp -s tests/board/package-lock.json "$stamp" && return 0
    say "setup: npm ci in tests/board"
    (cd tests/board && timeout 600 npm ci --no-audit --no-fund --silent) \
        || die "npm ci failed in tests/board" "is the network there?"
    cp tests/board/package-lock.json "$stamp"
}

# The load bench is tried between networks; processes are looked at and ended.
need_host_tools() {
    have ip || apt_install "ip, for networks of the tests' own" iproute2
    have ps && type -P kill >/dev/null || apt_install "ps and kill, for processes of the tests" procps
    have openssl || apt_install "openssl, for certificates of the tests' brokers" openssl
}

need_promtool() { have promtool || unpack_deb prometheus promtool; }

need_java() {
    have java || apt_install "Java, for the brokers of the tests" openjdk-17-jre-headless
    have mvn || apt_install "Maven, which fetches the brokers" maven
    scripts/kafka.sh fetch
}

need_slowhttptest() { have slowhttptest || unpack_deb slowhttptest slowhttptest; }

# HAProxy, with the libraries that hosts lack; the wrapper tells it where they are.
need_haproxy() {
    have haproxy && return 0
    local package deb="$TOUCHLINE_CACHE/tools/deb/haproxy" bin="$TOUCHLINE_CACHE/tools/bin/haproxy"
    for package in haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1; do
        unpack_deb "$package"
        [ "$package" = haproxy ] || cp -a "$TOUCHLINE_CACHE/tools/deb/$package/." "$deb/"
    done
    cat >"$bin" <<END
#!/bin/sh
LD_LIBRARY_PATH="$(echo "$deb"/usr/lib/*-linux-gnu*):\$LD_LIBRARY_PATH" exec "$deb/usr/sbin/haproxy" "\$@"
END
    chmod +x "$bin"
    haproxy -v >/dev/null || die "haproxy doesn't run on this host" "run it by hand to see why: $bin -v"
}

need_cargo_fuzz() {
    local bin="$TOUCHLINE_CACHE/tools/bin/cargo-fuzz"
    have cargo-fuzz && return 0
    say "setup: building cargo-fuzz $CARGO_FUZZ (about two minutes, once)"
    timeout 1200 env -u CARGO_NET_OFFLINE CARGO_TARGET_DIR="$TOUCHLINE_CACHE/tools/build" cargo install --quiet --locked \
        --root "$TOUCHLINE_CACHE/tools" --version "$CARGO_FUZZ" cargo-fuzz \
        || die "cargo-fuzz could not be built" "is the network there?"
    rm -rf "$TOUCHLINE_CACHE/tools/build"
    [ -x "$bin" ] || die "cargo install left no $bin" "remove $TOUCHLINE_CACHE/tools and run this again"
}

# ------------------------------------------------------------------

mkdir -p "$TOUCHLINE_CACHE/tools/bin" || die "$TOUCHLINE_CACHE can't be written" "set TOUCHLINE_CACHE to a folder that can"

need_rust
need_compiler
need_crates Cargo.toml
case "${1:-build}" in
    build) ;;
    check) need_lints ;;
    all)
        need_lints
        need_crates tests/fuzz/Cargo.toml
        need_python
        need_browser
        need_board_modules
        need_host_tools
        need_promtool
        need_slowhttptest
        need_haproxy
        need_java
        need_cargo_fuzz
        ;;
    *) die "setup knows build, check and all, not $1" ;;
esac
