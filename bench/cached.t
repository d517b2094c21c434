#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# bench/cached and its load work: rows of seven columns from a smoke run of
# each suite, and bad arguments are named with exit status 2.
#
# The checks are functions called by name:
# shellcheck disable=SC2317
set -u

build=${SPILLWAY_BUILD:-$(pwd)}
bench=$build/bench
log=$(mktemp) || exit 99
trap 'rm -f "$log"' EXIT
number=0 failed=0

# check NAME COMMAND...: one test; what was printed is shown if it fails.
check()
{
	name=$1
	shift
	number=$((number + 1))
	if "$@" >"$log" 2>&1; then
		echo "ok $number - $name"
	else
		failed=$((failed + 1))
		echo "not ok $number - $name"
		sed 's/^/# /' "$log"
	fi
}

skip()
{
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# rows LEAST WORD...: bench/cached prints so many rows, each well-formed.
rows()
{
	least=$1
	shift
	printed=$("$bench/cached" "$@" --smoke --rounds 1 --seconds 1) ||
		return 1
	echo "$printed"
	echo "$printed" | awk -F '\t' -v least="$least" '
		/^#/ { next }
		NF != 7 { bad++ }
		$1 != "name" { rows++; if ($3 !~ /^(-?[0-9.e+-]+|nan)$/) bad++ }
		END { exit !(rows >= least && bad == 0) }'
}

# named STATUS WORD COMMAND...: fails so, with the word in its message.
named()
{
	status=$1
	word=$2
	shift 2
	"$@"
	[ $? -eq "$status" ] && grep -q -- "$word" "$log"
}

group_works()
{
	"$bench/cached" neighbour --smoke --rounds 1 --limit 100 2>&1 |
		grep -q 'no memory group'
}

check "cached has a help text" "$bench/cached" --help
check "cached-load has a help text" "$bench/cached-load" --help
check "cached-load names a bad option" named 2 --wrong \
	"$bench/cached-load" --wrong
check "cached-load names a port where nobody is" named 1 'port 1' \
	"$bench/cached-load" --port 1 --smoke
check "cached names a bad suite" named 2 nothing "$bench/cached" nothing
check "cached names a bad number" named 1 '0 is not' \
	"$bench/cached" speed --rounds 0
if command -v memcached >/dev/null || [ -x /usr/bin/memcached ]; then
	check "cached speed prints rows" rows 14 speed --only pipelined
else
	skip "cached speed prints rows" "memcached is not installed"
fi
if group_works; then
	skip "cached neighbour prints rows" "no memory group"
else
	check "cached neighbour prints rows" rows 7 neighbour --limit 100
fi
echo "1..$number"
exit $((failed > 0))
