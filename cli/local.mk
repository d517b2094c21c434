# cli: the `spillway` program, the helper of its demonstration, completion.
bin_PROGRAMS += spillway
spillway_SOURCES = \
	%D%/act.c %D%/act.h \
	%D%/bars.c %D%/bars.h \
	%D%/client.c %D%/client.h \
	%D%/command.h \
	%D%/demo.c \
	%D%/elf.c %D%/elf.h \
	%D%/group.c %D%/group.h \
	%D%/main.c \
	%D%/place.c %D%/place.h \
	%D%/pressure.c \
	%D%/reclaim.c \
	%D%/reply.c %D%/reply.h \
	%D%/run.c \
	%D%/say.c \
	%D%/show.c %D%/show.h \
	%D%/stat.c \
	%D%/target.c %D%/target.h
spillway_CPPFLAGS = $(AM_CPPFLAGS) \
	-DSPILLWAY_LIBDIR='"$(libdir)"' \
	-DSPILLWAY_LIBEXECDIR='"$(pkglibexecdir)"'
spillway_LDADD = libspillway-core.la

# Knows nothing of spillway: linked with the C library alone.
pkglibexec_PROGRAMS = spillway-demo-hog
spillway_demo_hog_SOURCES = %D%/hog.c %D%/hog.h
spillway_demo_hog_LDADD = -lm

bashcompletion_DATA = %D%/completions/spillway
%D%/completions/spillway: %D%/completion.bash
	@$(MKDIR_P) %D%/completions
	$(AM_V_GEN)cp $(srcdir)/%D%/completion.bash $@
EXTRA_DIST += %D%/completion.bash
CLEANFILES += %D%/completions/spillway
