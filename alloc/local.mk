# alloc: jemalloc behind it: pages, purge, tagged arenas, the malloc family.

# In both libraries.
core_sources += \
	%D%/arena.c \
	%D%/arena_body.c %D%/arena_body.h \
	%D%/arena_hooks.c %D%/arena_hooks.h \
	%D%/arena_threads.c %D%/arena_threads.h \
	%D%/heap.h \
	%D%/huge.c %D%/huge.h \
	%D%/pages.c %D%/pages.h

# Where the heap is the embedded jemalloc: libspillway-malloc.so.
malloc_sources += \
	%D%/embedded.c \
	%D%/family.c \
	%D%/operators.c \
	%D%/purge.c %D%/purge.h \
	%D%/redirect.c %D%/redirect.h \
	%D%/sandbox.c

# Where it is whatever the process has: libspillway.so.
foreign_sources += \
	%D%/foreign.c
