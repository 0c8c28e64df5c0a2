#!/bin/sh
# The browser tests drive /usr/bin/chromium: install it where that is allowed, else say so.
set -eu
[ -x /usr/bin/chromium ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing chromium for the browser tests ..."
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -q && apt-get install -y -q --no-install-recommends chromium; } >/dev/null 2>&1 && exit 0
fi
echo "make: The browser tests need /usr/bin/chromium: install it (Debian: apt-get install chromium)." >&2
exit 1
