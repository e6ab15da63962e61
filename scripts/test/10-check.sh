#!/usr/bin/env bash
# formatting, lints, the laws of the house
# limit_s: 1500
. "$(dirname "$0")/../env.sh"
scripts/check.sh
