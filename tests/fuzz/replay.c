/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a fuzzer's LLVMFuzzerTestOneInput() without libFuzzer: every file of
 * its corpus, and mutations of them from a seed.
 *
 * Linked to each fuzz_NAME.c. Without arguments it reads the folder
 * tests/fuzz/corpus/NAME below $abs_top_srcdir, as `make check` does; with
 * arguments, the files and folders named. SPILLWAY_FUZZ_ROUNDS (20000) is how
 * many mutations, SPILLWAY_FUZZ_SEED (1) where they begin.
 *
 * An input that the fuzzer dies of is named on standard error and, being a
 * mutation, written to fuzz-died in the current folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/tap.h"

#define INPUT_BYTES 65536
#define INPUTS 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

struct input {
	uint8_t *data;
	size_t size;
};

static struct input inputs[INPUTS];
static size_t inputs_count;

/* What is being run; for the handler of deaths. */
static char running_name[512];
static const uint8_t *running;
static size_t running_size;

static void
died(int signal)
{
	int fd = open("fuzz-died", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (write(2, running_name, strlen(running_name)) < 0 ||
	    write(2, "\n", 1) < 0)
		_exit(99);
	if (fd >= 0 && write(fd, running, running_size) < 0)
		_exit(99);
	raise(signal); /* the handler is gone: SA_RESETHAND */
}

static void
run(const uint8_t *data, size_t size)
{
	running = data;
	running_size = size;
	LLVMFuzzerTestOneInput(data, size);
}

static void
run_file(const char *path)
{
	uint8_t *data = malloc(INPUT_BYTES);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (!data || fd < 0)
		tap_bail_out("cannot read %s: %s", path, strerror(errno));
	n = read(fd, data, INPUT_BYTES);
	close(fd);
	if (n < 0)
		tap_bail_out("cannot read %s: %s", path, strerror(errno));
	snprintf(running_name, sizeof running_name, "died of %s", path);
	run(data, (size_t)n);
	tap_ok(true, "%s is survived",
	       strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	if (inputs_count < INPUTS)
		inputs[inputs_count++] = (struct input){ data, (size_t)n };
	else
		free(data);
}

static int
visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void
run_path(const char *path)
{
	struct dirent **entries;
	char below[4096];
	struct stat st;
	int n;

	if (stat(path, &st) != 0)
		tap_bail_out("no corpus: %s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	n = scandir(path, &entries, visible, alphasort);
	if (n <= 0)
		tap_bail_out("no corpus: %s is empty", path);
	for (int i = 0; i < n; i++) {
		snprintf(below, sizeof below, "%s/%s", path,
			 entries[i]->d_name);
		run_file(below);
		free(entries[i]);
	}
	free(entries);
}

static uint64_t state;

static size_t
draw(size_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return below ? (size_t)((state >> 33) % below) : 0;
}

/* One change to a text of *size bytes in a buffer of INPUT_BYTES. */
static void
mutate(uint8_t *text, size_t *size)
{
	static const uint8_t odd[] = "0189:=,.%-+ \n\t/{}\"\\\0\x7f\x80\xff"
				     "KMGTPEnusmhdBi";
	const struct input *other = &inputs[draw(inputs_count)];
	size_t at = draw(*size + 1), n;

	switch (draw(6)) {
	case 0: /* another byte */
		if (at < *size)
			text[at] = odd[draw(sizeof odd - 1)];
		break;
	case 1: /* another bit */
		if (at < *size)
			text[at] ^= (uint8_t)(1u << draw(8));
		break;
	case 2: /* one more byte */
		if (*size < INPUT_BYTES) {
			memmove(text + at + 1, text + at, *size - at);
			text[at] = odd[draw(sizeof odd - 1)];
			++*size;
		}
		break;
	case 3: /* some bytes fewer */
		n = draw(*size - at + 1);
		n = n > 16 ? draw(16) : n;
		memmove(text + at, text + at + n, *size - at - n);
		*size -= n;
		break;
	case 4: /* some bytes twice */
		n = draw(*size - at + 1);
		if (*size + n <= INPUT_BYTES) {
			memmove(text + at + n, text + at, *size - at);
			*size += n;
		}
		break;
	default: /* the end of another input */
		n = draw(other->size + 1);
		if (at + n <= INPUT_BYTES) {
			memcpy(text + at, other->data + other->size - n, n);
			*size = at + n;
		}
		break;
	}
}

static uint64_t
number_from(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);
	char *end = NULL;
	uint64_t number = text ? strtoull(text, &end, 10) : otherwise;

	if (text && (!*text || *end))
		tap_bail_out("%s=%s is not a number", variable, text);
	return number;
}

static void
run_mutations(void)
{
	uint64_t rounds = number_from("SPILLWAY_FUZZ_ROUNDS", 20000);
	uint64_t seed = number_from("SPILLWAY_FUZZ_SEED", 1);
	uint8_t *text = malloc(INPUT_BYTES);

	if (!text)
		tap_bail_out("no memory");
	state = seed;
	for (uint64_t i = 0; i < rounds; i++) {
		const struct input *from = &inputs[draw(inputs_count)];
		size_t size = from->size;

		memcpy(text, from->data, size);
		for (size_t n = 1 + draw(4); n > 0; n--)
			mutate(text, &size);
		snprintf(running_name, sizeof running_name,
			 "died of mutation %llu of seed %llu: see fuzz-died",
			 (unsigned long long)i, (unsigned long long)seed);
		run(text, size);
	}
	free(text);
	tap_ok(true, "%llu mutations from seed %llu are survived",
	       (unsigned long long)rounds, (unsigned long long)seed);
}

/* corpus/NAME for fuzz_NAME, whatever libtool calls it. */
static void
run_own_corpus(const char *program)
{
	const char *source = getenv("abs_top_srcdir");
	const char *name = strstr(program, "fuzz_");
	char path[4096];

	while (name && strstr(name + 1, "fuzz_"))
		name = strstr(name + 1, "fuzz_");
	if (!name)
		tap_bail_out("%s is not called fuzz_NAME", program);
	snprintf(path, sizeof path, "%s/tests/fuzz/corpus/%s",
		 source ? source : ".", name + strlen("fuzz_"));
	run_path(path);
}

int
main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = died,
				    .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGABRT, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	if (argc < 2)
		run_own_corpus(argv[0]);
	for (int i = 1; i < argc; i++)
		run_path(argv[i]);
	run_mutations();
	for (size_t i = 0; i < inputs_count; i++)
		free(inputs[i].data);
	return tap_done();
}
