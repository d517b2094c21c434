# cache: reclaimable key-value data: segments, index, eviction.
cache_sources = \
	%D%/batch.c %D%/batch.h \
	%D%/cache.c %D%/cache.h \
	%D%/entry.c %D%/entry.h %D%/entry_make.h \
	%D%/cut.c %D%/cut.h \
	%D%/era.c %D%/era.h \
	%D%/evict.c \
	%D%/grow.c \
	%D%/hash.c %D%/hash.h \
	%D%/index.c %D%/index.h \
	%D%/index_size.c \
	%D%/merge.c \
	%D%/offer.c \
	%D%/peek.c \
	%D%/plan.c \
	%D%/ref.c \
	%D%/segment.c %D%/segment.h \
	%D%/slot.h \
	%D%/soft.c %D%/soft.h \
	%D%/space.c \
	%D%/stream.h \
	%D%/writer.c %D%/writer.h
core_sources += $(cache_sources)
