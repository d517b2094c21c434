# gc-bridge: collectors that are in the process, and how they are asked.
core_sources += \
	%D%/boehm.c %D%/boehm.h \
	%D%/boehm_arm.c \
	%D%/boehm_roots.c \
	%D%/boehm_soft.c \
	%D%/boehm_sweep.c \
	%D%/bridge.c %D%/bridge.h \
	%D%/cpython.c \
	%D%/describe.c %D%/describe.h \
	%D%/detect.c %D%/detect.h \
	%D%/gc.c \
	%D%/guard.c %D%/guard.h \
	%D%/job.c %D%/job.h \
	%D%/jvm.c \
	%D%/jvm_heap.c %D%/jvm_heap.h \
	%D%/jvm_structs.c %D%/jvm_structs.h \
	%D%/jvm_sweep.c %D%/jvm_sweep.h \
	%D%/lua.c %D%/lua.h \
	%D%/node.c %D%/node.h \
	%D%/node_isolate.c \
	%D%/ocaml.c \
	%D%/ocaml_idle.c %D%/ocaml_idle.h \
	%D%/php.c \
	%D%/policy.c %D%/policy.h \
	%D%/ruby.c \
	%D%/runtimes.h \
	%D%/symbols.c %D%/symbols.h

# What an unmodified program calls: preloaded, before the runtime's own.
malloc_sources += \
	%D%/boehm_init.c \
	%D%/lua_init.c \
	%D%/interrupted.c %D%/interrupted.h \
	%D%/mapped.c \
	%D%/node_loop.c \
	%D%/php_open.c
