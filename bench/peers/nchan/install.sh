#!/usr/bin/env bash
# Brings nginx and nchan from Debian, unpacked.
. "$(dirname "$0")/../lib.sh"
begin
say "nginx and nchan from Debian"
unpack_debs nginx libnginx-mod-nchan
# The module has Debian's folder for request bodies built in, creates it whatever nginx.conf says,
# and fails where there is none. A path of the same length, below the -p folder, spares the host.
LC_ALL=C sed -i 's|/var/lib/nginx/body|tmp/of-nchan-itself|' \
    "$into/usr/lib/nginx/modules/ngx_nchan_module.so"
mkdir -p "$into/run" "$into/tmp"
cp "$here/nginx.conf" "$into"
need_libraries "$into/usr/sbin/nginx"
expect nginx 1.22.1
expect libnginx-mod-nchan 1.3.6
finish "nchan $(upstream libnginx-mod-nchan), nginx $(upstream nginx)"
