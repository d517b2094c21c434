# doc: man pages and what is written for those who read the code.
dist_man_MANS += \
	%D%/man/spillway.1 \
	%D%/man/spillway.7 \
	%D%/man/spillway_arena.3 \
	%D%/man/spillway_cache.3 \
	%D%/man/spillway_gc.3 \
	%D%/man/spillway_pressure.3 \
	%D%/man/spillway_reclaim.3 \
	%D%/man/spillway_shrinker.3 \
	%D%/man/spillway_soft.3
dist_doc_DATA += %D%/ARCHITECTURE.md %D%/CACHE-PROOF.md
