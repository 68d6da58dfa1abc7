#!/bin/sh
# The entry point. Numba takes compiled loops only from a folder that it may write to, and the image's own is read-only.
set -eu
# Without them they are compiled again, which takes some seconds.
rm -rf "$NUMBA_CACHE_DIR"
cp -R "$COMPILED_LOOPS" "$NUMBA_CACHE_DIR" || rm -rf "$NUMBA_CACHE_DIR"
exec airtally "$@"
