#!/bin/sh
# Each flood at the engine's full capacity beside 1,000 established connections and 500 new ones a second.
#
#   floods.sh PROGRAM [SECONDS]         60 seconds unless said; SECONDS of simulated time, as long as it takes
#
# The clock of a run is simulated, so the capacity is found first: a short run says what the engine keeps under that flood,
# and the long one has it come at that rate. A JSON line for each flood; see README.md for the fields.
set -eu

program=$1
seconds=${2:-60}

run() { # kind, Mpps, seconds
	"$program" engine --flows 1000 --rules 1000 --attack "$1" --attack-mpps "$2" --seconds "$3" --json
}

for kind in syn ack udp fragment icmp-error; do
	# Twice: what the table holds under a flood, and so what a packet costs, hangs on its rate.
	rate=1
	for _ in 1 2; do
		rate=$(run "$kind" "$rate" 2 | sed -n 's/.*"engine_mpps":\([0-9.]*\).*/\1/p')
		[ -n "$rate" ] || { echo "floods.sh: the report has no engine_mpps" >&2; exit 1; }
	done
	run "$kind" "$rate" "$seconds"
done
