#!/bin/sh
# Unpacks a package and looks at it: all that belongs in is there, and systemd finds nothing wrong with the unit.
#
#   cli/debian/verify.sh target/debian/bulkhead_0.1.0-1_amd64.deb
set -eu

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
dpkg-deb -x "$1" "$root"
dpkg-deb -e "$1" "$root/DEBIAN"

for path in usr/bin/bulkhead usr/share/man/man1/bulkhead-run.1.gz etc/bulkhead/gateway.toml \
	usr/share/bash-completion/completions/bulkhead usr/share/doc/bulkhead/examples/three-tier.toml; do
	test -e "$root/$path" || { echo "$1 has no /$path" >&2; exit 1; }
done
grep -qx /etc/bulkhead/gateway.toml "$root/DEBIAN/conffiles"
for script in postinst postrm; do
	sh -n "$root/DEBIAN/$script"
	# Both have their part for systemd in it.
	grep -q deb-systemd "$root/DEBIAN/$script"
done
"$root/usr/bin/bulkhead" check "$root/etc/bulkhead/gateway.toml"

unit=$(find "$root" -name bulkhead.service)
sed "s,/usr/bin/bulkhead,$root/usr/bin/bulkhead," "$unit" > "$root/bulkhead.service"
systemd-analyze verify --man=no "$root/bulkhead.service"
echo "$1: whole, and systemd finds nothing wrong with its unit"
