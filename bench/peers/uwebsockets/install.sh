#!/usr/bin/env bash
# Builds the server with uWebSockets' source, which a crate carries.
. "$(dirname "$0")/../lib.sh"
begin
have cargo && have cc && have c++ \
    || die "cargo, cc or c++ is missing" "install Rust and build-essential"
export CARGO_TARGET_DIR="$peers/build"
say "building (half a minute, once)"
env -u CARGO_NET_OFFLINE cargo fetch --quiet --locked --manifest-path "$here/Cargo.toml"
source="$(cargo metadata --offline --locked --format-version 1 --manifest-path "$here/Cargo.toml" \
    | grep -o '"manifest_path":"[^"]*libuwebsockets-sys-[^"]*"' | cut -d '"' -f 4)"
uws="$(dirname "$source")/uWebSockets"

# The flags of the library's own makefiles, with epoll and without TLS and zlib.
work="$(mktemp -d "$into/objects.XXXXXX")"
(cd "$work" && cc -std=c11 -O3 -flto=auto -DLIBUS_NO_SSL -I "$uws/uSockets/src" \
    -c "$uws"/uSockets/src/*.c "$uws"/uSockets/src/eventing/epoll_kqueue.c)
c++ -std=c++20 -O3 -flto=auto -DLIBUS_NO_SSL -DUWS_NO_ZLIB \
    -I "$uws/src" -I "$uws/uSockets/src" "$here/server.cpp" "$work"/*.o -o "$into/server"
rm -rf "$work"
finish "uWebSockets of libuwebsockets-sys 0.0.10"
