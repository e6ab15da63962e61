#!/usr/bin/env bash
# Builds the server, its crates as Cargo.lock says.
. "$(dirname "$0")/../lib.sh"
begin
have cargo || die "there is no cargo" "install Rust 1.85 or newer"
say "building (a minute, once)"
env -u CARGO_NET_OFFLINE CARGO_TARGET_DIR="$peers/build" \
    cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml"
cp "$peers/build/release/touchline-peer-axum" "$into/server"
finish "$(sed -n '/^name = "axum"$/{n;s/version = "\(.*\)"/axum \1/p}' "$here/Cargo.lock")"
