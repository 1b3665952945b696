#!/bin/sh
# Our tables beside DPDK's rte_acl, on the same rules and the same headers, in turn.
#
#   run.sh [-d DIR] [-r ROUNDS] [-s SECONDS] [-m METHOD] [-c CORE] [-l RULES] [-o FILE] [SET...]
#
#   -d DIR      where the ClassBench sets are; else $CLASSBENCH, else shared/classbench beside the project
#   -r ROUNDS   how often each side runs, in a process of its own each time (5)
#   -s SECONDS  how long a run is, at least (1)
#   -m METHOD   how we look up (what bulkhead-perf does when it is not told)
#   -c CORE     the core to run on (the last)
#   -l RULES    skip sets with more rules than that
#   -o FILE     the result (perf/results/DATE-rte_acl.md)
#   SET         names in DIR (all)
#
# Wants gcc, make, pkg-config, cargo and Debian's libdpdk-dev; as root it installs what is missing of them, and
# reserves 2 MB pages for DPDK while it runs. Rates are look-ups by second that the thread had the core, in millions,
# and medians; a ratio above 1 means that we are faster. rte_acl is quoted with the best of its methods, of bursts of
# 32 and 256, and of two ways to build. It also checks each of its answers against ours: a difference ends the run.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
sets=${CLASSBENCH:-$root/../shared/classbench}
rounds=5 seconds=1 method= limit=
core=$(($(nproc) - 1))
result=$root/perf/results/$(date -u +%F)-rte_acl.md
while getopts d:r:s:m:c:l:o: option; do
	case $option in
	d) sets=$OPTARG ;;
	r) rounds=$OPTARG ;;
	s) seconds=$OPTARG ;;
	m) method=$OPTARG ;;
	c) core=$OPTARG ;;
	l) limit=$OPTARG ;;
	o) result=$OPTARG ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))

say() { printf '%s  %s\n' "$(date -u +%T)" "$*" >&2; }
die() { printf 'run.sh: %s\n' "$*" >&2; exit 1; }

[ -d "$sets" ] || die "there are no sets in $sets: give their directory with -d"
if [ $# -eq 0 ]; then
	# Sets are the files that begin with a rule; the smallest first.
	set -- $(cd "$sets" && grep -l '^@' -- * 2>/dev/null | xargs wc -l | grep -v ' total$' | sort -n | awk '{print $2}')
fi
[ $# -gt 0 ] || die "there are no sets in $sets"

if ! pkg-config --exists libdpdk 2>/dev/null; then
	packages="libdpdk-dev pkg-config gcc make"
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		die "there is no libdpdk. On Debian, as root: apt-get install $packages"
	fi
	say "installing $packages"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update >&2 && apt-get -qy --no-install-recommends install $packages >&2
fi
say "building"
make -s -C "$here" >&2
(cd "$root" && cargo build --quiet --release --locked -p bulkhead-perf)
# Now, and not at the end: someone may go on working meanwhile.
version=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
ours=${CARGO_TARGET_DIR:-$root/target}/release/bulkhead-perf
theirs=$here/build/rte_acl

scratch=$(mktemp -d)
pages=/proc/sys/vm/nr_hugepages
reserved=$(cat $pages)
restore() {
	rm -rf "$scratch"
	[ "$(cat $pages)" = "$reserved" ] || echo "$reserved" >$pages
}
trap restore EXIT
trap 'exit 130' INT TERM
huge= page_size='2 MB'
# 2 GB: the largest tables that were seen have 0.5.
if [ "$reserved" -ge 1024 ]; then
	huge=--huge
elif [ "$(id -u)" -eq 0 ] && { echo 1024 >$pages; } 2>/dev/null && [ "$(cat $pages)" -ge 1024 ]; then
	huge=--huge
else
	page_size='4 kB'
	say "no 2 MB pages can be reserved: rte_acl gets 4 kB pages, which is not its best"
fi

# The value of a key in a line of JSON, or in lines of `key value`.
json() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "$2"; }
key() { awk -v key="$1" '$1 == key { print $2 }' "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

mkdir -p "$(dirname "$result")"
row() { tee -a "$scratch/table"; }
printf '| set | rules | ours M/s | method | compile s | MB | rte_acl M/s | method, burst | build s | MB | ratio |\n' | row
printf '| --- | ---: | ---: | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |\n' | row
for name; do
	file=$sets/$name
	[ -f "$file" ] || die "there is no $file"
	if [ -n "$limit" ] && [ "$(grep -c '^@' "$file")" -gt "$limit" ]; then
		say "$name: skipped, it has more than $limit rules"
		continue
	fi
	: >"$scratch/ours" && : >"$scratch/theirs"
	say "$name: writing rules and headers"
	"$ours" classifier --classbench "$file" ${method:+--method "$method"} --core "$core" --quiet \
		--dump "$scratch/dump" >&2
	best=
	round=1
	while [ "$round" -le "$rounds" ]; do
		say "$name: round $round of $rounds"
		"$ours" classifier --classbench "$file" ${method:+--method "$method"} --core "$core" --quiet \
			--verify 100 --runs 1 --seconds "$seconds" --json >"$scratch/a"
		"$theirs" "$scratch/dump" $best $huge --core "$core" --runs 1 --seconds "$seconds" \
			>"$scratch/b" 2>"$scratch/log" || { cat "$scratch/log" >&2; die "$name: rte_acl failed"; }
		if [ "$round" -eq 1 ]; then
			best="--method $(key method "$scratch/b") --burst $(key burst "$scratch/b")"
			best="$best --max-size $(key max_size "$scratch/b")"
			say "$name: rte_acl is best with $best"
		fi
		json mlookups_per_cpu_s "$scratch/a" >>"$scratch/ours"
		key mlookups_per_cpu_s "$scratch/b" >>"$scratch/theirs"
		round=$((round + 1))
	done
	a=$(median <"$scratch/ours")
	b=$(median <"$scratch/theirs")
	awk -v name="$name" -v a="$a" -v b="$b" -v rules="$(json rules "$scratch/a")" \
		-v method="$(json method "$scratch/a")" -v compile="$(json compile_s "$scratch/a")" \
		-v mb="$(json table_mb "$scratch/a")" -v their_method="$(key method "$scratch/b")" \
		-v burst="$(key burst "$scratch/b")" -v build="$(key build_s "$scratch/b")" \
		-v their_mb="$(key table_mb "$scratch/b")" 'BEGIN {
		printf "| %s | %d | %.1f | %s | %.3f | %.1f | %.1f | %s, %d | %.3f | %.1f | %.2f |\n",
			name, rules, a, method, compile, mb, b, their_method, burst, build, their_mb, a / b }' | row
done

{
	printf '# Our tables beside rte_acl, %s\n\n' "$(date -u +%F)"
	printf 'Command: `perf/peers/rte_acl/run.sh%s -r %s -s %s %s`\n\n' "${method:+ -m $method}" "$rounds" "$seconds" "$*"
	printf 'Machine: %s, %s processors, Linux %s; core %s; load %s.\n' \
		"$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" "$core" \
		"$(cut -d ' ' -f 1 /proc/loadavg)"
	printf 'Ours: %s. Theirs: DPDK %s, %s pages.\n\n' \
		"$version" \
		"$(pkg-config --modversion libdpdk)" "$page_size"
	printf 'Rates are medians of %s rounds in turn, by CPU time, one core, 1,048,576 headers, of which rte_acl' "$rounds"
	printf ' agreed with us on each.\nrte_acl is quoted with its best method, burst and build.\n\n'
	cat "$scratch/table"
} >"$result"
say "written to $result"
