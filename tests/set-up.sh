#!/bin/sh
# Installs what is missing to build, to run the demo, the tests or the bench, on Debian and its relatives.
# Usage: set-up.sh build|demo|test|memory|boot|bench|deb
set -eu

packages="gcc libc6-dev libpam0g-dev make"
packaging="debhelper dpkg-dev git lintian"
case $1 in
build) ;;
deb) packages="$packages $packaging" ;;
demo) packages="$packages oathtool" ;;
memory) packages="$packages oathtool valgrind" ;;
boot) packages="$packages oathtool qemu-system-x86 mmdebstrap e2fsprogs" ;;
test)
    packages="$packages oathtool openssh-server openssh-client sudo login passwd util-linux iproute2"
    packages="$packages binutils procps strace e2fsprogs mount zbar-tools man-db mandoc msmtp python3-aiosmtpd attr curl vsftpd $packaging"
    packages="$packages libpam-google-authenticator libpam-oath pskctool"
    ;;
bench)
    packages="$packages oathtool openssh-server openssh-client passwd util-linux iproute2 binutils strace e2fsprogs"
    packages="$packages libpam-google-authenticator libpam-oath"
    ;;
*)
    echo "usage: set-up.sh build|demo|test|memory|boot|bench|deb" >&2
    exit 2
    ;;
esac

# rustup's cargo may not be in the PATH that make sees.
PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
# The two compilers that Debian 12 has are 1.63, too old, and 1.96, made for its web browsers.
if ! cargo_version=$(cargo --version 2>/dev/null) ||
    [ "$(printf '%s\n' "cargo 1.85.0" "$cargo_version" | sort -V | head -n 1)" != "cargo 1.85.0" ]; then
    if apt-cache show cargo-web >/dev/null 2>&1; then
        packages="$packages cargo-web rustc-web"
    else
        packages="$packages cargo rustc"
    fi
fi

missing=
for package in $packages; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "Missing packages. As root: apt-get install$missing" >&2
    exit 1
fi
# sshd is wanted for its program: a running one would be a change to the system.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap 'rm -f $policy' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
# It only adds: what would take something else away fails.
# shellcheck disable=SC2086 # a list of words
apt-get install --yes --no-remove --no-install-recommends $missing
# A machine that had no sshd does not get one at its next start.
case $missing in
*openssh-server*) systemctl disable ssh.service ssh.socket >/dev/null 2>&1 || true ;;
esac
