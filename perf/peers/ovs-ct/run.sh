#!/bin/sh
# The engine beside Open vSwitch's userspace datapath with conntrack, on the same packets from memory, in turn.
#
#   run.sh [-f FLOWS] [-n RULES] [-z SIZE] [-r ROUNDS] [-s SECONDS] [-c CORE] [-o FILE]
#
#   -f FLOWS    flows that are alive at once (10000)
#   -n RULES    rules (1000)
#   -z SIZE     bytes of a frame on the wire (64)
#   -r ROUNDS   how often each side runs, in a process of its own each time (5)
#   -s SECONDS  how long a run is (5)
#   -c CORE     the core to run on (the last); OVS's other threads are on the others
#   -o FILE     the result (perf/results/DATE-ovs-ct.md)
#
# Wants root, cargo and Debian's openvswitch-switch-dpdk with the pcap and null drivers of DPDK; what is missing of them
# it installs. OVS runs in directories of its own, with a database of its own: one that serves this machine is not
# touched. 2 MB pages are reserved while it runs, and put back. What is measured has the highest priority (nice -20). A
# ratio above 1 means that we are faster.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
flows=10000 rules=1000 size=64 rounds=5 seconds=5
core=$(($(nproc) - 1))
result=$root/perf/results/$(date -u +%F)-ovs-ct.md
while getopts f:n:z:r:s:c:o: option; do
	case $option in
	f) flows=$OPTARG ;;
	n) rules=$OPTARG ;;
	z) size=$OPTARG ;;
	r) rounds=$OPTARG ;;
	s) seconds=$OPTARG ;;
	c) core=$OPTARG ;;
	o) result=$OPTARG ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
done

say() { printf '%s  %s\n' "$(date -u +%T)" "$*" >&2; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || die "wants root: OVS and its pages do"
[ "$(nproc)" -ge 2 ] || die "wants two processors: one for OVS's PMD thread, another for its other threads"
other=0
[ "$core" -ne 0 ] || other=1

switchd=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
driver() { ls /usr/lib/*/dpdk/pmds-*/"librte_net_$1.so" /usr/lib/*/dpdk/pmds-*/"librte_net_$1.so".* 2>/dev/null | grep -q .; }
if ! [ -x $switchd ] || ! driver pcap || ! driver null; then
	command -v apt-get >/dev/null || die "there is no $switchd, and no apt-get to install it"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update >&2
	drivers=$(apt-cache search --names-only '^librte-net-(pcap|null)[0-9]+$' | cut -d ' ' -f 1)
	say "installing openvswitch-switch-dpdk" $drivers
	# RUNLEVEL=1: the package's own service is not started by it (invoke-rc.d(8)).
	RUNLEVEL=1 apt-get -qy --no-install-recommends install openvswitch-switch-dpdk $drivers >&2
fi
[ -x $switchd ] || die "there is no $switchd"
driver pcap && driver null || die "DPDK's drivers for pcap and null are not there (librte-net-pcap, librte-net-null)"

say "building"
(cd "$root" && cargo build --quiet --release --locked -p bulkhead-perf)
version=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
built=${CARGO_TARGET_DIR:-$root/target}/release/bulkhead-perf

scratch=$(mktemp -d /tmp/bulkhead-ovs-ct.XXXXXX)
# A build by someone else must not change what is measured.
ours=$scratch/bulkhead-perf
cp "$built" "$ours"
pages=/proc/sys/vm/nr_hugepages
reserved=$(cat $pages)
changed= engine=
stop_ovs() {
	for name in ovs-vswitchd ovsdb-server; do
		[ -f "$scratch/$name.pid" ] || continue
		pid=$(cat "$scratch/$name.pid")
		kill "$pid" 2>/dev/null || true
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.5
		done
		kill -9 "$pid" 2>/dev/null || true
		rm -f "$scratch/$name.pid"
	done
	# What DPDK has in a run directory of that prefix, which is ours alone.
	rm -rf "/var/run/dpdk/${scratch##*/}"
}
restore() {
	trap - EXIT
	[ -z "$engine" ] || kill "$engine" 2>/dev/null || true
	stop_ovs
	[ -z "$changed" ] || echo "$reserved" >$pages
	rm -rf "$scratch"
}
trap restore EXIT
trap 'exit 130' INT TERM HUP

# 1 GB: OVS's pool of 262,144 buffers takes more than half of it.
memory='--in-memory -m 1024' page_size='2 MB'
if [ "$(awk '/^HugePages_Free/ { print $2 }' /proc/meminfo)" -lt 512 ]; then
	changed=yes
	echo $((reserved + 512)) >$pages 2>/dev/null || true
	if [ "$(awk '/^HugePages_Free/ { print $2 }' /proc/meminfo)" -lt 512 ]; then
		memory='--no-huge -m 1024' page_size='4 kB'
		echo "$reserved" >$pages
		say "no 2 MB pages can be reserved: OVS gets 4 kB pages, which is not its best"
	fi
fi

say "writing packets and rules"
"$ours" engine --flows "$flows" --rules "$rules" --size "$size" \
	--write-pcap "$scratch/frames.pcap" --write-rules "$scratch/rules" >&2

# Tables: 0 asks the tracker, 1 looks at what it says, 2 has the rules. A range of ports is several masked matches. What
# is let in is sent on as it is: neither MAC, VLAN nor TTL are changed, nor is anything routed, which we do.
awk '
function masked(first, last,   size) {
	while (first <= last) {
		size = 1
		while (first % (size * 2) == 0 && first + size * 2 - 1 <= last) size *= 2
		flow(sprintf("tp_dst=0x%x/0x%x", first, 65536 - size))
		first += size
	}
}
function flow(port,   verdict, i) {
	verdict = allow ? "ct(commit),output:2" : "drop"
	for (i = 1; i <= 2; i++)
		printf "table=2,priority=%d,%s,nw_src=%s,nw_dst=%s,%s,actions=%s\n",
			priority, i == 1 ? "udp" : "tcp", from, to, port, verdict
}
BEGIN {
	print "table=0,priority=10,in_port=1,ip,actions=ct(table=1)"
	print "table=0,priority=0,actions=drop"
	print "table=1,priority=10,ct_state=+trk+est-inv,ip,actions=output:2"
	print "table=1,priority=10,ct_state=+trk+new-inv,ip,actions=resubmit(,2)"
	print "table=1,priority=0,actions=drop"
	print "table=2,priority=0,actions=drop"
}
{ allow = $1 == "allow"; from = $2; to = $3; priority = 60000 - NR; masked($4 + 0, $5 + 0) }
' "$scratch/rules" >"$scratch/flows"

export OVS_RUNDIR="$scratch" OVS_DBDIR="$scratch" OVS_LOGDIR="$scratch" OVS_SYSCONFDIR="$scratch"
vsctl() { ovs-vsctl --db="unix:$scratch/db.sock" --timeout=60 "$@"; }
appctl() { ovs-appctl --timeout=20 -t "$scratch/ovs-vswitchd.ctl" "$@"; }
# Packets that the PMD thread received, and that the second port sent.
polled() { appctl dpif-netdev/pmd-stats-show | awk '/^pmd thread/ { on = 1 } /^main thread/ { on = 0 }
	on && /packets received:/ { n += $3 } END { printf "%.0f\n", n }'; }
sent() { appctl dpctl/show -s | awk '/^ *port [0-9]+: / { on = $3 == "out" }
	on && sub(/.*TX packets:/, "") { printf "%.0f\n", $1 }'; }
# Seconds that the PMD thread had its core.
ran() { awk '{ printf "%.9f", $1 / 1e9 }' "/proc/$pid/task/$pmd/schedstat"; }
now() { cut -d ' ' -f 1 /proc/uptime; }

# A process before all others: by its threads' priority and, where the kernel shares time between sessions, by that of
# its session (sched(7), autogroup). Both sides start in a session of their own.
prefer() {
	{ echo -20 >"/proc/$1/autogroup"; } 2>/dev/null || true
	for thread in /proc/"$1"/task/*; do renice -n -20 -p "${thread##*/}" >/dev/null 2>&1 || true; done
}

start_ovs() {
	rm -f "$scratch/conf.db"
	ovsdb-tool create "$scratch/conf.db" /usr/share/openvswitch/vswitch.ovsschema
	ovsdb-server "$scratch/conf.db" --remote="punix:$scratch/db.sock" --unixctl="$scratch/ovsdb-server.ctl" \
		--pidfile="$scratch/ovsdb-server.pid" --log-file="$scratch/ovsdb-server.log" --detach --no-chdir -vconsole:off
	vsctl --no-wait init
	vsctl --no-wait set Open_vSwitch . other_config:dpdk-init=true other_config:emc-insert-inv-prob=0 \
		other_config:pmd-cpu-mask="$(printf %x $((1 << core)))" \
		other_config:dpdk-extra="--no-pci --no-telemetry --file-prefix ${scratch##*/} $memory -l $other"
	$switchd "unix:$scratch/db.sock" --unixctl="$scratch/ovs-vswitchd.ctl" --pidfile="$scratch/ovs-vswitchd.pid" \
		--log-file="$scratch/ovs-vswitchd.log" --detach --no-chdir -vconsole:off ||
		{ tail -n 20 "$scratch/ovs-vswitchd.log" >&2; die "ovs-vswitchd did not start"; }
	pid=$(cat "$scratch/ovs-vswitchd.pid")
	vsctl add-br br0 -- set Bridge br0 datapath_type=netdev fail_mode=secure
	ovs-ofctl add-flows "unix:$scratch/br0.mgmt" "$scratch/flows"
	vsctl add-port br0 out -- set Interface out type=dpdk ofport_request=2 options:dpdk-devargs=net_null0,no-rx=1
	vsctl add-port br0 in -- set Interface in type=dpdk ofport_request=1 \
		options:dpdk-devargs="net_pcap0,rx_pcap=$scratch/frames.pcap,infinite_rx=1"
	[ "$(vsctl get Interface in ofport) $(vsctl get Interface out ofport)" = "1 2" ] ||
		{ tail -n 20 "$scratch/ovs-vswitchd.log" >&2; die "OVS could not open its ports"; }
	pmd=
	for task in /proc/"$pid"/task/*; do
		case $(cat "$task/comm") in pmd-*) pmd=${task##*/} ;; esac
	done
	[ -n "$pmd" ] || die "OVS has no PMD thread"
	prefer "$pid"
	# Every flow is established after one time through; then what the openings have left in the cache of the
	# datapath is taken out, so that only what established packets need is searched.
	sleep 5
	appctl dpctl/del-flows
	sleep 2
}

json() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
all() { sort -n "$1" | awk '{ printf "%s%.2f", sep, $1; sep = " " }'; }

: >"$scratch/ours" && : >"$scratch/theirs" && : >"$scratch/ours-wall" && : >"$scratch/theirs-wall"
loads=$(cut -d ' ' -f 1 /proc/loadavg)
round=1
while [ "$round" -le "$rounds" ]; do
	say "round $round of $rounds"
	setsid "$ours" engine --flows "$flows" --rules "$rules" --size "$size" --seconds "$seconds" --core "$core" --json \
		>"$scratch/a" &
	engine=$!
	sleep 0.1
	prefer "$engine"
	wait "$engine" || die "bulkhead-perf engine failed"
	engine=
	json mpps_on_core "$scratch/a" >>"$scratch/ours"
	json mpps "$scratch/a" >>"$scratch/ours-wall"
	start_ovs
	s0=$(sent) t0=$(now) p0=$(polled) c0=$(ran)
	sleep "$seconds"
	t1=$(now) p1=$(polled) c1=$(ran) s1=$(sent)
	connections=$(appctl dpctl/ct-get-nconns)
	megaflows=$(appctl dpctl/dump-flows -m | grep -c ct_state || true)
	[ "${connections:-0}" -ge "$flows" ] || die "OVS tracks ${connections:-0} connections of $flows"
	# They are not counted at the same moment: nine in ten are enough to tell that they do go through.
	[ $((s1 - s0)) -ge $(((p1 - p0) * 9 / 10)) ] || die "OVS received $((p1 - p0)) packets and sent $((s1 - s0))"
	awk -v p=$((p1 - p0)) -v c0="$c0" -v c1="$c1" 'BEGIN { printf "%.3f\n", p / (c1 - c0) / 1e6 }' >>"$scratch/theirs"
	awk -v p=$((p1 - p0)) -v t0="$t0" -v t1="$t1" 'BEGIN { printf "%.3f\n", p / (t1 - t0) / 1e6 }' >>"$scratch/theirs-wall"
	stop_ovs
	loads="$loads $(cut -d ' ' -f 1 /proc/loadavg)"
	say "ours $(tail -n 1 "$scratch/ours"), OVS $(tail -n 1 "$scratch/theirs") Mpps; $megaflows megaflows"
	round=$((round + 1))
done

a=$(median <"$scratch/ours") b=$(median <"$scratch/theirs")
mkdir -p "$(dirname "$result")"
{
	printf '# The engine beside Open vSwitch with conntrack, %s\n\n' "$(date -u +%F)"
	printf 'Command: `perf/peers/ovs-ct/run.sh -f %s -n %s -z %s -r %s -s %s -c %s`\n\n' \
		"$flows" "$rules" "$size" "$rounds" "$seconds" "$core"
	printf 'Machine: %s, %s processors, Linux %s; load %s before and after each round.\n' \
		"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" "$loads"
	printf 'Ours: %s. Theirs: %s, %s, %s pages.\n\n' "$version" "$($switchd --version | head -n 1)" \
		"$($switchd --version | tail -n 1)" "$page_size"
	printf '| | by CPU time, Mpps | all rounds | by the wall clock | all rounds |\n| --- | ---: | --- | ---: | --- |\n'
	printf '| bulkhead-perf engine | %.2f | %s | %.2f | %s |\n' "$a" "$(all "$scratch/ours")" \
		"$(median <"$scratch/ours-wall")" "$(all "$scratch/ours-wall")"
	printf '| OVS-DPDK, ct | %.2f | %s | %.2f | %s |\n\n' "$b" "$(all "$scratch/theirs")" \
		"$(median <"$scratch/theirs-wall")" "$(all "$scratch/theirs-wall")"
	awk -v a="$a" -v b="$b" 'BEGIN { printf "**Ratio %.2f**, medians by CPU time.\n\n", a / b }'
	cat <<-'END'
		One core. The packets are the same frames in the same order, UDP, both directions of each flow, out of memory and into
		the void: ours by the trace port, OVS's by net_pcap with infinite_rx and net_null. Both copy each frame into a buffer
		of their own, and both ports are counted.

		- UDP, because a capture that goes round and round can't open TCP connections. Both trackers have all flows established
		  before anything is measured; OVS's cache of megaflows is emptied after that, so it holds what established packets
		  need. OVS commits what its table of rules lets in, and established packets are let through both ways.
		- OVS's exact-match cache is off (emc-insert-inv-prob=0): with more flows than its 8,192 places it only costs.
		- OVS sends frames as they are. We route them: the route, the neighbor, MACs, VLAN and TTL, and the spoof guard are in
		  our figure and not in its. Its rules are one prefix to one prefix; ours are of segments.
		- CPU time is that of the thread that does the work, so what else runs on the core costs neither; it does cost
		  caches, for which both sides have the highest of ordinary priorities (nice -20).
	END
} >"$result"
awk -v a="$a" -v b="$b" 'BEGIN { printf "ours %.2f Mpps, OVS %.2f Mpps, ratio %.2f\n", a, b, a / b }'
say "written to $result"
