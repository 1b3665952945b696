#!/bin/sh
# Instructions a packet, counted by callgrind: the same on every run and every machine of one kind, whatever else runs
# there. Holds them against the recorded ones (instructions.txt), and fails where one is off by more than 3 %: a cost
# that nobody wanted, or a gain that is to be recorded.
#
#   instructions.sh PROGRAM            compare
#   instructions.sh PROGRAM --record   print what is to be recorded
set -eu

program=$1
mode=${2:-compare}
here=$(cd "$(dirname "$0")" && pwd)
recorded=$here/instructions.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Counts the turns of the measured part: receive, process, transmit, timers.
count() { # packets, arguments...
	packets=$1
	shift
	valgrind --tool=callgrind --callgrind-out-file="$work/out" --toggle-collect='*Harness*counted*' \
		"$program" engine --flows 1000 --rules 100 --packets "$packets" "$@" --json >"$work/report" 2>"$work/log" ||
		{ cat "$work/log" >&2; exit 1; }
	total=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$work/log")
	[ -n "$total" ] && [ "$total" -gt 0 ] || { echo "callgrind collected nothing" >&2; exit 1; }
	echo "$total $packets" | awk '{ printf "%.1f\n", $1 / $2 }'
}

failed=0
while read -r name limit arguments; do
	case $name in '' | '#'*) continue ;; esac
	# Words are to be split: they are arguments.
	# shellcheck disable=SC2086
	found=$(count 64000 $arguments)
	if [ "$mode" = --record ]; then
		echo "$name $found $arguments"
		continue
	fi
	verdict=$(echo "$found $limit" | awk '{ print ($1 > $2 * 1.03) ? "more" : ($1 < $2 * 0.97) ? "less" : "" }')
	echo "$name: $found instructions a packet, $limit recorded${verdict:+: $verdict than 3 % off}"
	[ -z "$verdict" ] || failed=1
done <"$recorded"
exit $failed
