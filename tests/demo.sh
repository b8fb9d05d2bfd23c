#!/bin/sh
# Enrolls the user who runs it in a scratch folder and logs in once through the built module and the
# system's libpam. Changes nothing outside the scratch folder, which it removes.
# Usage: demo.sh BUILD-FOLDER
set -eu

build=$1
user=$(id -un)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

cat >"$scratch/pam_totp.toml" <<END
secret_dir = "$scratch/secrets"
state_dir = "$scratch/state"
run_dir = "$scratch/run"
issuer = "pam_totp demo"
END
echo "auth required $build/libpam_totp.so config=$scratch/pam_totp.toml" >"$scratch/demo"
totpctl="$build/totpctl --config $scratch/pam_totp.toml"

echo "== Enrollment of $user in $scratch =="
if [ -t 0 ] && [ -t 1 ]; then
    echo "No phone at hand? In another terminal, with the key below:"
    echo "  oathtool --totp --base32 KEY        (the login wants the code after it)"
    echo
    $totpctl enroll "$user"
    echo
    echo "Now wait for the next code of your app."
    "$build/demo-login" "$scratch" "$user"
else
    umask 077
    head -c 20 /dev/urandom | base32 >"$scratch/secret"
    code() { oathtool --totp --base32 --now "now + $1 seconds" - <"$scratch/secret"; }
    code 0 | $totpctl enroll "$user" --secret-file "$scratch/secret" --qr utf8
    echo
    # The next code, which a window of one step on each side takes early.
    code 30 | "$build/demo-login" "$scratch" "$user"
fi
