#!/usr/bin/env bash
# Brings Bun from npm, as package-lock.json says. Its binary lies in a package for each platform;
# the install script that would put it in place is not run.
. "$(dirname "$0")/../lib.sh"
begin
have npm || die "there is no npm" "install Node.js and npm"
say "npm ci"
cp "$here"/package.json "$here"/package-lock.json "$here"/server.js "$into"
npm_ci
for binary in "$into"/node_modules/@oven/bun-*/bin/bun; do
    # A package for another C library may have come as well.
    if version="$("$binary" --version 2>/dev/null)"; then
        ln -sfn "$binary" "$into/bun"
        finish "Bun $version"
        exit 0
    fi
done
die "npm brought no Bun that runs here" "is $(uname -m) among its platforms?"
