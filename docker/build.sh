#!/bin/sh
# Builds shoal from SOURCE, and lays out in OUT the root filesystem of an image that runs it.
# usage: build.sh SOURCE OUT
set -eu
source=$1 out=$2

packages=$(sed -n '/^readonly build_packages=(/,/^)/{//d;p}' "$source/dev")
missing=
for package in $packages; do
  dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
  apt-get update -q
  # shellcheck disable=SC2086  # a list of names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

# Exactly as ./dev build does: where a cache of compilations is lent, what it built is found there.
export CCACHE_BASEDIR="$source" CCACHE_NOHASHDIR=1 \
  CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime,locale
cd "$source"
cmake --preset release -DSHOAL_TESTS=OFF -DCMAKE_INSTALL_PREFIX=/usr \
  -DCMAKE_CXX_COMPILER_LAUNCHER="$(command -v ccache || true)"
cmake --build build/release --target shoal
install -D -s build/release/agent/shoal "$out/usr/bin/shoal"

# The libraries it is linked with, and the loader, at the places where the loader looks.
ldd "$out/usr/bin/shoal" | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\s*\(\/[^ ]*\) .*/\1/p' |
  while read -r library; do
    mkdir -p "$out$(dirname "$library")"
    cp -L "$library" "$out$library"
  done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$out/etc/ssl/certs/ca-certificates.crt"
mkdir -p "$out/etc/shoal" "$out/tmp" "$out/run" "$out/var/lib/shoal"
chmod 1777 "$out/tmp"
echo 'root:x:0:0::/:
shoal:x:65532:65532::/var/lib/shoal:' >"$out/etc/passwd"
echo 'root:x:0:
shoal:x:65532:' >"$out/etc/group"
chown 65532:65532 "$out/var/lib/shoal"
chmod 700 "$out/var/lib/shoal"
rm -rf build
