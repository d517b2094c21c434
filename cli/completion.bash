# SPDX-License-Identifier: BSD-2-Clause
# bash completion for spillway(1)
# shellcheck shell=bash
# shellcheck disable=SC2207 # lists of words without blanks, as usual here

# Processes that have spillway and are ours to ask: those with a socket.
_spillway_pids()
{
	local folder file
	for folder in "${XDG_RUNTIME_DIR:-/run/user/$UID}" /run; do
		for file in "$folder"/spillway/*.sock; do
			[[ -e $file ]] || continue
			file=${file##*/}
			printf '%s\n' "${file%.sock}"
		done
	done
}

_spillway_options()
{
	case $1 in
	run)
		echo --conf --gc --limit --library --check --quiet --help
		;;
	stat)
		echo --json --watch --help
		;;
	reclaim)
		echo --timeout --older-than --rate --quiet --help
		;;
	pressure)
		echo --json --help
		;;
	demo)
		echo --limit --seconds --no-cgroup --json --help
		;;
	esac
}

# The command after `run` and its arguments complete as on their own.
_spillway_run()
{
	local i word
	for ((i = 2; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--)
			((i++))
			break
			;;
		-c | -l | --conf | --gc | --limit | --library)
			((i++))
			# "--conf=X" is three words to bash
			[[ ${COMP_WORDS[i]} == = ]] && ((i++))
			;;
		-*) ;;
		*) break ;;
		esac
	done
	((i <= COMP_CWORD)) || return 1
	if ((i == COMP_CWORD)); then
		[[ ${COMP_WORDS[i]} == -* ]] && return 1
		COMPREPLY=($(compgen -c -- "${COMP_WORDS[i]}"))
		return 0
	fi
	if declare -F _command_offset >/dev/null; then
		_command_offset "$i"
	else
		COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
	fi
}

_spillway_values()
{
	case $1 in
	--limit | -l)
		echo 64M 256M 400M 1G 4G
		;;
	--timeout | -t | --watch | -w)
		echo 250ms 1s 5s
		;;
	--older-than | -o)
		echo 30s 5m 1h
		;;
	--rate | -r)
		echo 10M/s 100M/s
		;;
	--seconds | -s)
		echo 6 18 60
		;;
	--conf | -c)
		echo limit: oom:fail log:info pagecache:share threads:never off \
			soft: hard: gate: deadline: start: tier: huge:on \
			cgroup:off machine:off rlimit:off psi:off notify:off \
			systemd:off control:off root:
		;;
	*)
		return 1
		;;
	esac
}

_spillway()
{
	local current=${COMP_WORDS[COMP_CWORD]}
	local previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]}
	local words

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		words='run stat reclaim pressure demo help --help --version'
		COMPREPLY=($(compgen -W "$words" -- "$current"))
		return
	fi
	[[ $current == = ]] && current=
	[[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
	if [[ $command == run ]]; then
		_spillway_run && return
	fi
	if [[ $previous == --library ]]; then
		COMPREPLY=($(compgen -f -- "$current"))
	elif words=$(_spillway_values "$previous"); then
		COMPREPLY=($(compgen -W "$words" -- "$current"))
	elif [[ $current == -* ]]; then
		words=$(_spillway_options "$command")
		COMPREPLY=($(compgen -W "$words" -- "$current"))
	elif [[ $command == help ]]; then
		words='run stat reclaim pressure demo'
		COMPREPLY=($(compgen -W "$words" -- "$current"))
	elif [[ $command == reclaim && $previous =~ ^[0-9]+$ ]]; then
		COMPREPLY=($(compgen -W 'max 64M 256M 1G' -- "$current"))
	elif [[ $command == stat || $command == reclaim ||
		$command == pressure ]]; then
		COMPREPLY=($(compgen -W "$(_spillway_pids)" -- "$current"))
	fi
}

complete -F _spillway spillway
