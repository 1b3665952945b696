#!/bin/sh
# Installs a package by dpkg over a copy of this machine, which is gone afterwards: user, group, program, unit; removed, it
# leaves its configuration, and purged, nothing. As root.
#
#   cli/debian/install.sh target/debian/bulkhead_0.1.0-1_amd64.deb
set -eu

if [ -z "${BULKHEAD_INSTALLING:-}" ]; then
	work=$(mktemp -d)
	trap 'rmdir "$work"' EXIT
	# Mounts go with their namespace.
	BULKHEAD_INSTALLING=$work unshare -m "$0" "$1"
	exit
fi

work=$BULKHEAD_INSTALLING
mount -t tmpfs tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/work" "$work/root"
mount -t proc proc "$work/root/proc"
cp "$1" "$work/root/bulkhead.deb"
chroot "$work/root" sh -eu <<'END'
# Nothing is started here.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
dpkg -i /bulkhead.deb
id bulkhead
bulkhead --version
bulkhead check /etc/bulkhead/gateway.toml
systemd-analyze verify --man=no "$(dpkg -L bulkhead | grep 'bulkhead\.service$')"
dpkg -r bulkhead
test -e /etc/bulkhead/gateway.toml
dpkg -P bulkhead
! test -e /etc/bulkhead
! test -e /usr/bin/bulkhead
END
echo "$1: installs, and goes again without a trace"
