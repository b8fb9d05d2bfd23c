# Runs as process 1 of new namespaces and becomes their machine: the root file system below a layer of
# memory that takes every change, with devices, processes, a network and a host name of its own. It prints
# its id as the outside knows it when all is ready, and ends, and everything in it, when its input does.
set -e
read -r id _ </proc/self/stat

mount -t tmpfs -o mode=755 layer /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work machine /mnt/root
cd /mnt/root

mount -t proc proc proc
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/ptmx c 5 2
ln -s /proc/self/fd dev/fd
# Terminals are opened outside and must have their names inside too.
mkdir dev/pts
mount --bind /dev/pts dev/pts

pivot_root . mnt
umount -l /mnt
hostname machine
echo '127.0.0.1 localhost machine' >/etc/hosts
ip link set lo up

# What is installed and configured outside is not what is tested.
rm -rf /etc/security/pam_totp.toml /var/lib/pam_totp /etc/ssh/sshd_config.d/*
mkdir /run/sshd

echo "$id"
# An ignored SIGCHLD has the kernel bury the orphans that process 1 inherits.
exec env --ignore-signal=CHLD cat >/dev/null
