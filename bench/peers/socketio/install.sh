#!/usr/bin/env bash
# Brings Socket.IO from npm, as package-lock.json says, and Redis from Debian, unpacked.
. "$(dirname "$0")/../lib.sh"
begin
have node && have npm || die "node or npm is missing" "install Node.js 18 or newer, with npm"
say "npm ci, and Redis from Debian"
cp "$here"/package.json "$here"/package-lock.json "$here"/server.mjs "$into"
npm_ci

unpack_debs redis-server redis-tools libjemalloc2 liblzf1
# One folder for the loader, whatever the processor is called.
mkdir "$into/libraries"
find "$into/usr/lib" -name '*.so*' -exec cp -P {} "$into/libraries" \;
need_libraries "$into/usr/bin/redis-server" "$into/libraries"
expect redis-server 7.0.15
redis="Redis $(upstream redis-server)"
finish "socket.io 4.8.4, redis-adapter 8.3.0, $redis, Node $(node --version)"
