# base: assertions, lock ranks, log, clock, settings, fault injection.
core_sources += \
	%D%/assert.c %D%/assert.h \
	%D%/clock.h \
	%D%/elsewhere.c %D%/elsewhere.h \
	%D%/fault.c %D%/fault.h \
	%D%/file.c %D%/file.h \
	%D%/futex.h \
	%D%/lock.c %D%/lock.h \
	%D%/log.c %D%/log.h \
	%D%/nearest.c %D%/nearest.h \
	%D%/rcu.c %D%/rcu.h \
	%D%/settings.c %D%/settings.h \
	%D%/spillway.c \
	%D%/units.c %D%/units.h \
	%D%/words.c %D%/words.h
