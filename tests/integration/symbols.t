#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What the two libraries export and need, read from their dynamic sections.
#
# A symbol version on malloc silently disables LD_PRELOAD; a missing function
# of the family mixes two heaps; libstdc++ costs 0.4 ms in every start.
set -u

build=${SPILLWAY_BUILD:-${abs_top_builddir:-$PWD}}
number=0
failed=0

result()
{
	number=$((number + 1))
	if [ -z "$1" ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		echo "$1" | sed 's/^/# /'
		failed=1
	fi
}

skip()
{
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
}

# Names of defined dynamic symbols, with their versions where they have one.
exports()
{
	readelf --dyn-syms --wide "$1" | awk '
		$5 ~ /^(GLOBAL|WEAK)$/ && $7 != "UND" && $8 != "" { print $8 }
	' | sort -u
}

needed()
{
	readelf --dynamic --wide "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

family='malloc calloc realloc free reallocarray aligned_alloc memalign
posix_memalign valloc pvalloc cfree malloc_usable_size malloc_trim malloc_stats
malloc_info mallinfo mallinfo2 mallopt free_sized free_aligned_sized'
jemalloc='mallocx rallocx xallocx sallocx dallocx sdallocx nallocx mallctl
mallctlnametomib mallctlbymib malloc_stats_print malloc_message'
# operator new, new[], delete, delete[]; plain, nothrow, sized, aligned
operators='_Znwm _Znam _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t
_ZnwmSt11align_val_t _ZnamSt11align_val_t _ZnwmSt11align_val_tRKSt9nothrow_t
_ZnamSt11align_val_tRKSt9nothrow_t _ZdlPv _ZdaPv _ZdlPvRKSt9nothrow_t
_ZdaPvRKSt9nothrow_t _ZdlPvm _ZdaPvm _ZdlPvSt11align_val_t
_ZdaPvSt11align_val_t _ZdlPvSt11align_val_tRKSt9nothrow_t
_ZdaPvSt11align_val_tRKSt9nothrow_t _ZdlPvmSt11align_val_t
_ZdaPvmSt11align_val_t'
# How a program's seccomp filter is noticed: alloc/sandbox.c
wrapped='prctl syscall'
# What runtimes map for their heaps is counted: gc-bridge/mapped.c
wrapped="$wrapped mmap mmap64 mprotect"
# What arms the bridge to Boehm's collector: gc-bridge/boehm_init.c
bridged='GC_init GC_pthread_create'
# Where Node's event loops go by: gc-bridge/node_loop.c
bridged="$bridged epoll_wait epoll_pwait"
# What makes a state of Lua: gc-bridge/lua_init.c
bridged="$bridged lua_newstate"
# What PHP opens its extensions with: gc-bridge/php_open.c
bridged="$bridged dlopen"

missing()
{
	for name in $2; do
		echo "$1" | grep -qx "$name" || echo "missing: $name"
	done
}

interposer=$build/libspillway-malloc.so
if [ -e "$interposer" ]; then
	all=$(exports "$interposer")
	result "$(echo "$all" | grep '@')" \
		'no exported symbol of the interposer has a version'
	result "$(missing "$all" "$family")" \
		'the interposer defines the whole malloc family'
	result "$(missing "$all" "$jemalloc")" \
		"the interposer defines jemalloc's functions"
	result "$(missing "$all" "$operators")" \
		'the interposer defines operator new and delete in all forms'
	result "$(echo "$all" | grep -E '^(je_|malloc_conf|spw_heap_)')" \
		"nothing internal to jemalloc is exported"
	allowed=$(echo "$family $jemalloc $operators $wrapped $bridged osv_register_shrinker" |
		tr ' ' '\n')
	result "$(echo "$all" | grep -v '^spw_' | grep -vxF "$allowed")" \
		'everything else that the interposer exports is spw_*'
	result "$(needed "$interposer" | grep -E 'stdc|jemalloc|libm\.|gcc_s')" \
		'the interposer needs no libstdc++, libjemalloc, libm or libgcc_s'
	result "$(readelf --dynamic --wide "$interposer" |
		grep -E 'TEXTREL')" 'the interposer has no text relocations'
elif grep -q '^MALLOC_TRUE = #' "$build/Makefile" 2>/dev/null; then
	skip 'the interposer' 'configured with --disable-malloc'
else
	result "no $interposer" 'libspillway-malloc.so is built'
fi

library=$build/libspillway.so
if [ -e "$library" ]; then
	all=$(exports "$library")
	result "$(echo "$all" | grep -vE '^SPILLWAY_0$' | grep -vE \
		'^(spw_[a-z0-9_]+|osv_register_shrinker)@@SPILLWAY_0$')" \
		'libspillway.so exports spw_* and osv_register_shrinker alone'
	result "$(missing "$(echo "$all" | sed 's/@.*//')" \
		'spw_version spw_strerror osv_register_shrinker')" \
		'libspillway.so has what every program asks for'
	result "$(needed "$library" | grep -E 'stdc|jemalloc')" \
		'libspillway.so needs neither jemalloc nor libstdc++'
	result "$(readelf --dynamic --wide "$library" | grep SONAME |
		grep -v '\[libspillway.so.0\]')" 'its name is libspillway.so.0'
else
	result "no $library" 'libspillway.so is built'
fi
echo "1..$number"
exit $failed
