#!/bin/sh
# Builds the Debian packages once more, in another folder, from the sources of make vendor and without a network, and
# compares them with those in the folder that is named.
set -eu

packages=$1
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
unset MAKEFLAGS MAKELEVEL CARGO_TARGET_DIR ROOT

mkdir "$elsewhere/clone"
git ls-files --cached --others --exclude-standard | while read -r file; do
    [ ! -e "$file" ] || cp --parents "$file" "$elsewhere/clone"
done
cd "$elsewhere/clone"
git init --quiet
make --silent vendor 2>/dev/null
# A network of its own, in which there is nothing, where that can be had.
apart=
unshare --net true 2>/dev/null && apart="unshare --net"
$apart make deb

differ=0
for package in "$packages"/*.deb; do
    name=${package##*/}
    ours=$(sha256sum <"$package")
    theirs=$(sha256sum <"target/debian/$name")
    echo "$name ${ours%% *} ${theirs%% *}"
    [ "$ours" = "$theirs" ] || differ=1
done
exit $differ
