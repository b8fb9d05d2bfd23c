# Makes what a machine boots from: boot.sh FOLDER PACKAGE..., passwords as for chpasswd on stdin.
# FOLDER/base and FOLDER/vmlinuz are Debian's and are made once; FOLDER/disk is made anew, with the packages installed.
set -eu
folder=$1
shift
. /etc/os-release

# The kernel for clouds needs no initramfs for an NVMe disk with ext4.
if [ ! -e "$folder/vmlinuz" ]; then
    rm -rf "$folder/base" "$folder/kernel"
    mkdir -p "$folder/kernel"
    # shellcheck disable=SC2016 # mmdebstrap's variable
    mmdebstrap --quiet --mode=root --variant=essential --include=login,passwd,systemd-sysv \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="cd '$folder/kernel' && export APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG && \
            apt-get download \$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/ *Depends: //p')" \
        "$VERSION_CODENAME" "$folder/base" http://deb.debian.org/debian
    dpkg-deb --fsys-tarfile "$folder"/kernel/*.deb | tar -x -C "$folder/kernel" --wildcards './boot/vmlinuz-*'
    mv "$folder"/kernel/boot/vmlinuz-* "$folder/vmlinuz"
    rm -rf "$folder/kernel"
fi

root=$folder/root
rm -rf "$root" "$folder/disk"
cp -a "$folder/base" "$root"
cp "$@" "$root/tmp"
chroot "$root" sh -e -c '
    export DEBIAN_FRONTEND=noninteractive
    dpkg --install /tmp/*.deb >/dev/null
    rm /tmp/*.deb
    useradd --create-home --shell /bin/sh alice
    usermod --shell /bin/sh root
    chpasswd
    systemctl --quiet mask systemd-logind.service
    systemctl --quiet enable serial-getty@ttyS0.service
    # Without udev nobody says that the terminal is there.
    sed "/dev-%i.device/d" /lib/systemd/system/serial-getty@.service >/etc/systemd/system/serial-getty@.service
'
echo boot >"$root/etc/hostname"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nForwardToConsole=yes\nTTYPath=/dev/ttyS1\n' >"$root/etc/systemd/journald.conf.d/console.conf"
mke2fs -q -F -t ext4 -d "$root" "$folder/disk" 600M
rm -rf "$root"
