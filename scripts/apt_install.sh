#!/bin/sh
# Install the Debian packages that are missing, where that is possible; never fatal, one line if not.
missing=""
for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Left out, no apt-get here:$missing"
    exit 0
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Left out, needs root (sudo apt-get install$missing)"
        exit 0
    fi
    root="sudo -n"
fi
export DEBIAN_FRONTEND=noninteractive
if ! { $root apt-get update -q && $root apt-get install -q -y --no-install-recommends $missing; } \
    >/dev/null 2>&1; then
    echo "Left out, apt-get could not install:$missing"
fi
