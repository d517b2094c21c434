#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Each bench program runs for about 10 ms, plain and under the preload, and
# prints rows of seven columns; bad arguments are named with exit status 2;
# bench/run, bench/compare and bench/gc do their work on a smoke run.
#
# The checks are functions called by name:
# shellcheck disable=SC2317
set -u

build=${SPILLWAY_BUILD:-$(pwd)}
bench=$build/bench
gc=$(cd "$(dirname "$0")" && pwd)/gc
library=$build/libspillway-malloc.so
results=$(mktemp -d) || exit 99
trap 'rm -rf "$results"' EXIT
number=0 failed=0

# check NAME COMMAND...: one test; what the command printed is shown if it
# fails.
check()
{
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$results/log" 2>&1; then
		echo "ok $number - $name"
	else
		failed=$((failed + 1))
		echo "not ok $number - $name"
		sed 's/^/# /' "$results/log"
	fi
}

skip()
{
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# rows PRELOAD PROGRAM [PATTERN]: at least one row, each well-formed.
rows()
{
	preload=$1
	program=$2
	shift 2
	env LD_PRELOAD="$preload" "$bench/$program" "$@" --smoke \
		>"$results/rows" || return 1
	well_formed
}

# gc_rows WORDS: the same of bench/gc.
gc_rows()
{
	SPILLWAY_BUILD=$build "$gc" --smoke "$@" >"$results/rows"
	status=$?
	well_formed && return "$status"
}

well_formed()
{
	cat "$results/rows"
	awk -F '\t' '
		/^#/ { head++; next }
		NF != 7 { bad++ }
		$1 != "name" { rows++; if ($3 !~ /^(-?[0-9.e+-]+|inf)$/) bad++ }
		END { exit !(head >= 4 && rows > 0 && bad == 0) }
	' "$results/rows"
}

# named WORD COMMAND...: fails with status 2 and the word in its message.
named()
{
	word=$1
	shift
	"$@" 2>"$results/error" >"$results/out"
	status=$?
	cat "$results/error" "$results/out"
	[ "$status" -eq 2 ] && grep -q -- "$word" "$results/error"
}

smoke_all()
{
	"$bench/run" all --smoke --rounds 2 --output "$results/tsv" \
		--allocators glibc,"$1"
}

programs="burst-return cache-hits cache-kv cache-memory cache-read cache-shrink
idle-cost large malloc-tail shrinker-cache small start-fork tagged threads"
commands="burst-return
cache-hits
cache-kv
cache-kv --uniform --value 100
cache-memory
cache-read
cache-shrink
idle-cost
large large-buffers
malloc-tail
malloc-tail --busy 1
shrinker-cache
small tight
small nested
small lifetimes
small calloc
small realloc
small strings
small app
start-fork --arenas 2
tagged
threads cross-thread
threads thread-churn
threads thread-bulk
threads server
threads steady"

saved_ifs=$IFS
IFS='
'
for command in $commands; do
	IFS=$saved_ifs
	# shellcheck disable=SC2086 # words are meant to be split
	check "$command prints rows" rows "" $command
	if [ -e "$library" ]; then
		# shellcheck disable=SC2086
		check "$command prints rows under spillway" \
			rows "$library" $command
	else
		skip "$command under spillway" "no $library"
	fi
done
IFS=$saved_ifs
for program in $programs; do
	check "$program has a help text" "$bench/$program" --help
	check "$program names a bad option" named --wrong \
		"$bench/$program" --wrong
done
check "a bad number is named" named 12Q "$bench/small" tight --rounds 12Q
check "a bad pattern is named" named nothing "$bench/small" nothing
check "a store that is not there is named" named nostore \
	"$bench/cache-kv" --only nostore
for program in cache-hits cache-memory cache-shrink; do
	check "$program names a part that is not there" named nopart \
		"$bench/$program" --smoke --only nopart
done
check "run names a bad suite" named nothing "$bench/run" nothing
check "run names a bad allocator" named nomalloc "$bench/run" speed \
	--allocators nomalloc
check "run names a bad number of rounds" named many "$bench/run" speed \
	--rounds many
check "run names a library that is not there" named /no/such.so \
	"$bench/run" speed --allocator x=/no/such.so
if [ -e "$library" ]; then
	check "run does all suites" smoke_all spillway
	check "compare pairs the rounds" "$bench/compare" \
		"$results/tsv/spillway.tsv" "$results/tsv/glibc.tsv" \
		--except large-buffers
	check "compare names a file that is not there" named nofile \
		"$bench/compare" "$results/tsv/glibc.tsv" "$results/nofile"
else
	skip "run does all suites" "no $library"
fi
if [ ! -e "$library" ]; then
	skip "gc" "no $library"
else
	check "gc has a help text" env SPILLWAY_BUILD="$build" "$gc" --help
	check "gc names a bad suite" named nothing \
		env SPILLWAY_BUILD="$build" "$gc" nothing
	check "gc names a program that is not there" named noprogram \
		env SPILLWAY_BUILD="$build" "$gc" --only noprogram
	check "gc names a library that is not there" named /no/build \
		env SPILLWAY_BUILD=/no/build "$gc" event
	check "gc idle prints rows" gc_rows idle --only none
	if echo '#include <gc.h>' | "${CC:-cc}" -E - >/dev/null 2>&1; then
		check "gc prints rows for Boehm's collector" \
			gc_rows event pause elastic
	else
		skip "gc prints rows for Boehm's collector" "no libgc-dev"
	fi
	if command -v lua5.4 >/dev/null; then
		check "gc burst prints rows" gc_rows burst --only lua
	else
		skip "gc burst prints rows" "no lua5.4"
	fi
fi
echo "1..$number"
exit $((failed > 0))
