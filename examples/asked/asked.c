/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hands spillway's request to a thread of the runtime's and waits for the
 * answer: for runtimes whose collector is called in their own language alone.
 * Plain types, so that any foreign function interface can call it.
 *
 * spillway -> collect (its own thread) -> wanted -> asked_wait (the runtime's
 * thread) -> ... -> asked_done -> collect returns.
 *
 * Why two steps: a collection may only be called on a thread that the runtime
 * knows. Attaching ours for each call is what hung Mono at its end. A thread of
 * the runtime's own it ends as it ends its others.
 *
 * A thread that does not come (it is stopped, or the runtime is ending) costs
 * PATIENCE_S, and the request is taken back: not now. All statics are guarded
 * by `lock`, but `gc`, which asked_start() alone touches.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include <spillway/gc.h>
#include <spillway/spillway.h>

#define PATIENCE_S 2

/* Registers under the name, up to 63 bytes. NULL, or why not (static). */
const char *asked_start(const char *name);

/*
 * Waits until memory is wanted (1), for so long at most (0); negative: for
 * ever. -1 where asked_start() was not called. Blocks in a condition variable:
 * to be called where the runtime may stop its world meanwhile.
 */
int asked_wait(int milliseconds);

/* The collection is over. */
void asked_done(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news = PTHREAD_COND_INITIALIZER;
static struct spw_gc *gc;
static enum { NOBODY, RESTS, WANTED, RUNNING } state;

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *context)
{
	struct timespec until;
	bool answered;
	int late = 0;

	(void)level;
	(void)deadline_ns;
	(void)context;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&lock);
	if (state == RESTS) {
		state = WANTED;
		pthread_cond_broadcast(&news);
	}
	/* Who began is waited for: a second request would be too soon. */
	while (state == RUNNING || (state == WANTED && late == 0)) {
		if (state == RUNNING)
			pthread_cond_wait(&news, &lock);
		else
			late = pthread_cond_timedwait(&news, &lock, &until);
	}
	answered = state == RESTS;
	if (state == WANTED)
		state = RESTS;
	pthread_mutex_unlock(&lock);
	return answered ? 0 : SPW_SHRINK_LATER;
}

const char *
asked_start(const char *name)
{
	struct spw_gc_options options = {
		.size = sizeof options,
		.name = name,
		.collect = collect,
	};
	int error = gc ? -EEXIST : spw_gc_register(&gc, &options);

	return error ? spw_strerror(error) : NULL;
}

int
asked_wait(int milliseconds)
{
	struct timespec until;
	bool wanted;
	int late = 0;

	if (!gc)
		return -1;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += milliseconds / 1000;
	until.tv_nsec += milliseconds % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&lock);
	if (state == NOBODY)
		state = RESTS;
	while (state != WANTED && late == 0)
		late = milliseconds < 0 ?
			       pthread_cond_wait(&news, &lock) :
			       pthread_cond_timedwait(&news, &lock, &until);
	wanted = state == WANTED;
	if (wanted)
		state = RUNNING;
	pthread_mutex_unlock(&lock);
	return wanted;
}

void
asked_done(void)
{
	pthread_mutex_lock(&lock);
	state = RESTS;
	pthread_cond_broadcast(&news);
	pthread_mutex_unlock(&lock);
}
