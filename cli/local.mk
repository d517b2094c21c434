# cli: the `spillway` program, its demonstration, bash completion.
bin_PROGRAMS += spillway
spillway_SOURCES = \
	%D%/ask.c %D%/ask.h \
	%D%/client.c %D%/client.h \
	%D%/command.h \
	%D%/elf.c %D%/elf.h \
	%D%/main.c \
	%D%/place.c %D%/place.h \
	%D%/run.c \
	%D%/say.c \
	%D%/target.c %D%/target.h
