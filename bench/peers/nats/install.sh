#!/usr/bin/env bash
# Brings nats-server from Debian, unpacked.
. "$(dirname "$0")/../lib.sh"
begin
say "nats-server from Debian"
unpack_debs nats-server
cp "$here/nats.conf" "$into"
need_libraries "$into/usr/sbin/nats-server"
expect nats-server 2.9.10
finish "nats-server $(upstream nats-server)"
