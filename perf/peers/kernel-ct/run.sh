#!/bin/sh
# `bulkhead run` beside nftables with conntrack, over the same veths, in turn.
#
#   run.sh [-w one|two] [-f FLOWS] [-n RULES] [-r ROUNDS] [-s SECONDS] [-c CORE] [-o FILE]
#
#   -w WIRING   one: all of the forwarding is on one core; two: half of it is on the sender's (one)
#   -f FLOWS    flows that are alive at once (10000)
#   -n RULES    rules, and elements of the map (1000)
#   -r ROUNDS   how often each side runs (7)
#   -s SECONDS  how long a run is (5)
#   -c CORE     the core that forwards (the last); the sender has the first other one
#   -o FILE     the result (perf/results/DATE-kernel-ct.md, or DATE-kernel-ct-two.md)
#
# Wants root, cargo, gcc, iproute2, nftables and ethtool. It makes two network namespaces, in which everything happens,
# and takes them down. What is measured has the highest priority (nice -20). A ratio above 1 means that we are
# faster.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
wiring=one flows=10000 rules=1000 rounds=7 seconds=5
core=$(($(nproc) - 1))
result=
while getopts w:f:n:r:s:c:o: option; do
	case $option in
	w) wiring=$OPTARG ;;
	f) flows=$OPTARG ;;
	n) rules=$OPTARG ;;
	r) rounds=$OPTARG ;;
	s) seconds=$OPTARG ;;
	c) core=$OPTARG ;;
	o) result=$OPTARG ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
done

say() { printf '%s  %s\n' "$(date -u +%T)" "$*" >&2; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || die "wants root: namespaces and veths do"
[ "$(nproc)" -ge 2 ] || die "wants two processors: one sends, the other forwards"
case $wiring in
one) suffix= ;;
two) suffix=-two ;;
*) die "the wiring is one or two, and not $wiring" ;;
esac
result=${result:-$root/perf/results/$(date -u +%F)-kernel-ct$suffix.md}
for tool in ip nft ethtool taskset gcc cargo; do
	command -v $tool >/dev/null || die "there is no $tool. On Debian: apt-get install iproute2 nftables ethtool util-linux gcc"
done
other=0
[ "$core" -ne 0 ] || other=1

scratch=$(mktemp -d /tmp/bulkhead-kernel-ct.XXXXXX)
# Named after this process, as the gateway's ends of the veths are: nobody else has them.
gateway=bhct-$$-gw hosts=bhct-$$-hosts
made= running=
stop_gateway() {
	[ -n "$running" ] || return 0
	kill "$running" 2>/dev/null || true
	wait "$running" 2>/dev/null || true
	running=
}
restore() {
	trap - EXIT
	stop_gateway
	for name in $made; do ip netns delete "$name" 2>/dev/null || true; done
	rm -rf "$scratch"
}
trap restore EXIT
trap 'exit 130' INT TERM HUP

say "building"
gcc -O2 -Wall -Wextra -o "$scratch/blast" "$here/blast.c"
(cd "$root" && cargo build --quiet --release --locked -p bulkhead -p bulkhead-perf)
version=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
built=${CARGO_TARGET_DIR:-$root/target}/release
# A build by someone else must not change what is measured.
cp "$built/bulkhead" "$built/bulkhead-perf" "$scratch"

# 68 bytes with the tag, which the sender takes off: 64 on the wire.
"$scratch/bulkhead-perf" engine --flows "$flows" --rules "$rules" --size 68 \
	--write-pcap "$scratch/frames.pcap" --write-rules "$scratch/rules" >&2

inside() { ip netns exec "$gateway" "$@"; }
for name in "$gateway" "$hosts"; do
	ip netns add "$name"
	made="$made $name"
done
for side in 0 1; do
	ip -n "$gateway" link add g$side$$ type veth peer name h$side netns "$hosts" || die "this kernel has no veth"
	for end in "$gateway g$side$$" "$hosts h$side"; do
		set -- $end
		ip netns exec "$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=1" 2>/dev/null || true
		ip netns exec "$1" ethtool -K "$2" tx off tso off gso off gro off txvlan off rxvlan off >/dev/null 2>&1 || true
		ip -n "$1" link set "$2" up
	done
done
ip -n "$gateway" link set g0$$ address 02:00:00:00:00:10
ip -n "$gateway" link set g1$$ address 02:00:00:00:00:11
# Networks are behind a router on each side, of which both gateways know the MAC.
ip -n "$gateway" addr add 192.0.2.1/30 dev g0$$
ip -n "$gateway" addr add 192.0.2.5/30 dev g1$$
for side in "10.16.0.0/12 192.0.2.2 g0$$ 02:00:00:00:01:00" "10.32.0.0/12 192.0.2.6 g1$$ 02:00:00:00:01:01"; do
	set -- $side
	ip -n "$gateway" neigh replace "$2" lladdr "$4" nud permanent dev "$3"
	ip -n "$gateway" route add "$1" via "$2" dev "$3"
done
inside sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
	net.ipv4.conf.g0$$.rp_filter=0 net.ipv4.conf.g1$$.rp_filter=0

# What the kernel does by the map and we by a table of segments; the rules are the same.
{
	printf 'table ip bulkhead {\n\tmap rules {\n\t\ttype ipv4_addr . ipv4_addr . inet_service : verdict\n'
	printf '\t\tflags interval\n\t\telements = {\n'
	awk '!seen[$2 $3 $4 $5]++ { printf "%s\t\t\t%s . %s . %s : %s", sep, $2, $3, $4 == $5 ? $4 : $4 "-" $5,
		$1 == "allow" ? "accept" : "drop"; sep = ",\n" }' "$scratch/rules"
	printf '\n\t\t}\n\t}\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n'
	printf '\t\tct state established accept\n\t\tct state invalid drop\n'
	printf '\t\tct state new ip saddr . ip daddr . th dport vmap @rules\n\t}\n}\n'
} >"$scratch/nft"
{
	cat <<-'END'
		[gateway]
		name = "kernel-ct"
		[policy]
		default = "deny"
		[workers]
		idle = "adaptive"
		cores = [CORE]
		[[port]]
		name = "p0"
		interface = "END0"
		mac = "02:00:00:00:00:10"
		[[port]]
		name = "p1"
		interface = "END1"
		mac = "02:00:00:00:00:11"
		[[vlan]]
		id = 0
		port = "p0"
		name = "clients"
		address = ["192.0.2.1/30"]
		[[vlan]]
		id = 0
		port = "p1"
		name = "servers"
		address = ["192.0.2.5/30"]
		[[route]]
		to = "10.16.0.0/12"
		via = "192.0.2.2"
		[[route]]
		to = "10.32.0.0/12"
		via = "192.0.2.6"
		[[neighbor]]
		address = "192.0.2.2"
		mac = "02:00:00:00:01:00"
		[[neighbor]]
		address = "192.0.2.6"
		mac = "02:00:00:00:01:01"
	END
	awk 'function name(prefix) { gsub(/[.\/]/, "-", prefix); return "n" prefix }
	{ for (i = 2; i <= 3; i++) if (!seen[$i]++) printf "[segment.%s]\nmembers = [\"%s\"]\n", name($i), $i
	  ports = $4 == $5 ? $4 : $4 "-" $5
	  rules = rules sprintf("[[rule]]\nid = \"r%d\"\nfrom = [\"%s\"]\nto = [\"%s\"]\nservice = [\"tcp/%s\", \"udp/%s\"]\naction = \"%s\"\n",
		NR, name($2), name($3), ports, ports, $1) }
	END { printf "%s", rules }' "$scratch/rules"
} | sed "s/END0/g0$$/; s/END1/g1$$/; s/CORE/$core/" >"$scratch/gateway.toml"
"$scratch/bulkhead" check "$scratch/gateway.toml" >"$scratch/log" 2>&1 ||
	{ head -n 20 "$scratch/log" >&2; die "the generated policy is not accepted"; }

# One core: what arrives at the gateway's ends is taken up by kernel threads on the core that forwards. Threads are only
# there while NAPI is, which GRO or an XDP program turns on. Two cores: by whoever sends.
pin() {
	[ "$wiring" = one ] || return 0
	for side in 0 1; do
		inside sh -c "echo 1 >/sys/class/net/g$side$$/threaded" || die "this kernel has no threaded NAPI (Linux 5.12)"
	done
	sleep 0.5
	for thread in $(ps -eo pid=,comm= | awk '$2 ~ "^napi/g[01]'$$'-" { print $1 }'); do
		taskset -pc "$core" "$thread" >/dev/null 2>&1 || true
		renice -n -20 -p "$thread" >/dev/null 2>&1 || true
	done
}
blast() {
	first ip netns exec "$hosts" taskset -c "$other" "$scratch/blast" h0 h1 "$scratch/frames.pcap" \
		02:00:00:00:00:10 02:00:00:00:00:11 "$seconds" || die "the sender failed"
}
# A command before all others: by its own priority and, where the kernel shares time between sessions, by that of
# a session of its own (sched(7), autogroup).
first() { setsid nice -n -20 sh -c 'echo -20 2>/dev/null >/proc/self/autogroup || true; exec "$@"' sh "$@"; }
key() { awk -v key="$1" '$1 == key { print $2 }' "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.0f\n", v[int((NR + 1) / 2)] }'; }
all() { sort -n "$1" | awk '{ printf "%s%.0f", sep, $1 / 1e3; sep = " " }'; }

kernel() {
	for side in 0 1; do inside ethtool -K g$side$$ gro "$([ "$wiring" = one ] && echo on || echo off)" >/dev/null 2>&1 || true; done
	inside nft -f "$scratch/nft" || die "nftables does not take the map"
	pin
	blast >"$scratch/k"
	connections=$(inside cat /proc/sys/net/netfilter/nf_conntrack_count)
	inside nft delete table ip bulkhead
	[ "$connections" -ge "$flows" ] || die "the kernel tracks $connections connections of $flows"
}
ours() {
	for side in 0 1; do inside ethtool -K g$side$$ gro off >/dev/null 2>&1 || true; done
	# In this shell's own words, not by `first`, so that the number that is remembered is the gateway's.
	setsid nice -n -20 sh -c 'echo -20 2>/dev/null >/proc/self/autogroup || true; exec "$@"' sh \
		ip netns exec "$gateway" "$scratch/bulkhead" run -c "$scratch/gateway.toml" --no-socket --no-state \
		>"$scratch/run" 2>&1 &
	running=$!
	sleep 2
	kill -0 "$running" 2>/dev/null || { cat "$scratch/run" >&2; running=; die "bulkhead run ended"; }
	pin
	blast >"$scratch/b"
	stop_gateway
}

: >"$scratch/ours" && : >"$scratch/theirs" && : >"$scratch/sent"
limited=0
loads=$(cut -d ' ' -f 1 /proc/loadavg)
round=1
while [ "$round" -le "$rounds" ]; do
	say "round $round of $rounds"
	kernel
	ours
	key received_pps "$scratch/k" >>"$scratch/theirs"
	key received_pps "$scratch/b" >>"$scratch/ours"
	for side in "$scratch/k" "$scratch/b"; do
		awk '{ v[$1] = $2 } END { print v["sent_pps"]; if (v["full_share"] < 0.01) exit 1 }' "$side" >>"$scratch/sent" ||
			limited=$((limited + 1))
	done
	loads="$loads $(cut -d ' ' -f 1 /proc/loadavg)"
	say "ours $(tail -n 1 "$scratch/ours"), kernel $(tail -n 1 "$scratch/theirs") packets a second" \
		"(sender: $(awk '$1 ~ /share/ { printf "%s %s ", $1, $2 }' "$scratch/b" "$scratch/k"))"
	round=$((round + 1))
done

a=$(median <"$scratch/ours") b=$(median <"$scratch/theirs")
[ "$a" -gt 0 ] && [ "$b" -gt 0 ] || { cat "$scratch/run" >&2; die "nothing went through: ours $a, kernel $b"; }
mkdir -p "$(dirname "$result")"
{
	printf '# bulkhead run beside nftables with conntrack, over veth, %s\n\n' "$(date -u +%F)"
	printf 'Command: `perf/peers/kernel-ct/run.sh -w %s -f %s -n %s -r %s -s %s -c %s`\n\n' \
		"$wiring" "$flows" "$rules" "$rounds" "$seconds" "$core"
	printf 'Machine: %s, %s processors, Linux %s; load %s before and after each round.\n' \
		"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" "$loads"
	printf 'Ours: %s. Theirs: %s.\n\n' "$version" "$(nft --version)"
	printf '| | received, thousands a second | all rounds |\n| --- | ---: | --- |\n'
	awk -v a="$a" -v all="$(all "$scratch/ours")" 'BEGIN { printf "| bulkhead run, AF_XDP, copies | %.0f | %s |\n", a / 1e3, all }'
	awk -v b="$b" -v all="$(all "$scratch/theirs")" 'BEGIN { printf "| nftables, conntrack | %.0f | %s |\n", b / 1e3, all }'
	awk -v s="$(median <"$scratch/sent")" -v all="$(all "$scratch/sent")" \
		'BEGIN { printf "| offered, of all runs | %.0f | %s |\n\n", s / 1e3, all }'
	awk -v a="$a" -v b="$b" 'BEGIN { printf "**Ratio %.2f**, medians by the wall clock.\n\n", a / b }'
	[ "$limited" -eq 0 ] || [ "$wiring" = two ] || printf 'In %s of %s runs the sender was the limit: fewer than one of its calls in a hundred found a ring full.\n\n' \
		"$limited" $((2 * rounds))
	if [ "$wiring" = one ]; then
		cat <<-'END'
			Wiring: one core forwards. A veth's frame is received by NAPI, here kernel threads on the forwarding core, so reception
			is charged to the gateway on both sides: to the kernel its whole path from the veth through conntrack and the map to the
			other veth, in these threads; to us the XDP program and the copy into the socket's memory in these threads, and on
			the same core the worker, which judges and, by its system calls, copies each frame out again into a packet
			buffer that the kernel allocates.
		END
	else
		cat <<-'END'
			Wiring: two cores. A veth's frame is received in the softirq of whoever sends it. For the kernel that is the sender's
			core for all of the path, so its sender and its forwarding share one core, and the other is idle. For us the XDP
			program and the copy into the socket's memory are charged to the sender's core, and the worker has its own.
			Where as much was received as offered, the sender's core was the limit.
		END
	fi
	cat <<-'END'

		The sender has the other core: packet sockets past the queueing discipline, 64 frames with a system call, both directions of
		each UDP flow, 64 bytes. What finds the ring of a veth full is lost there. The sinks drop by XDP, and are counted by
		their interfaces; their NAPI runs in the softirq of whoever forwards, and so is charged to the gateway on both sides.
		Both have the same rules (nftables as a map of prefix, prefix and ports to a verdict; established before the map), the same
		two routes and neighbors, and all flows established before anything is measured. Reverse path filtering is off in the
		kernel; the spoof guard is on with us. By the wall clock: what else runs on these cores costs both, though
		sender, worker and kernel threads have the highest of ordinary priorities (nice -20).
	END
} >"$result"
awk -v a="$a" -v b="$b" 'BEGIN { printf "ours %.0f, kernel %.0f packets a second, ratio %.2f\n", a, b, a / b }'
say "written to $result"
