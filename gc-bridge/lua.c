/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to Lua 5.4, from 5.4.4 on.
 *
 * Conditions: the state came to us: made by liblua's lua_newstate() under the
 * preload, by the stock `lua` (both lua_init.c), or given to spw_gc_lua(). It
 * makes an object now and then: one that is blocked, or computes without
 * garbage, is not collected. collectgarbage("stop") is respected.
 *
 * Why it is safe: only the thread that runs a state may collect it, and that
 * thread comes by its allocator. So ours is put before it, and on request it
 * says once that there is no memory for a new object. Lua answers that with a
 * full collection that runs no finalizer, and asks again: in any coroutine,
 * without hook or signal. Failing just any allocation ends in "not enough
 * memory", since Lua does not collect within a step of its collector; but
 * there it makes objects in finalizers alone; of those, and of a state that
 * closes, LUA_GCISRUNNING tells. (Lua's own tests run so: EMERGENCYGCTESTS.)
 * Not for a Lua with a lua_lock(), or a state whose allocator others use, too.
 *
 * An ordinary cycle begins behind it: it runs finalizers, and shrinks what
 * such a collection may not. Between requests an allocation costs some loads.
 *
 * `wanted` is the request's number, or 0. A state's members are of the thread
 * that runs it, which adds to `answers` last.
 */
#include "gc-bridge/lua.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/elsewhere.h"
#include "base/futex.h"
#include "base/log.h"
#include "gc-bridge/runtimes.h"
#include "gc-bridge/symbols.h"

/* How long our thread stays where no state answers, and where one has. */
#define PATIENCE_NS (5 * CLOCK_S)
#define OTHERS_NS (100 * CLOCK_MS)
#define UNSAID_MAX (64l << 10)
#define STATE_BYTES_MIN 600
#define RELEASE_MIN '4'

/* lua.h of 5.4. */
enum { LUA_GCRESTART = 1, LUA_GCCOUNT = 3, LUA_GCISRUNNING = 9 };
enum { LUA_TSTRING = 4, LUA_TTHREAD = 8 };
enum { LUA_REGISTRYINDEX = -1001000, LUA_RIDX_MAINTHREAD = 1 };

#define REFUSED UINT64_MAX

struct state {
	lua_allocator *allocate; /* the program's */
	void *context;
	void *block;         /* the state's own: its end is ours */
	struct lua_State *L; /* its main thread; NULL while it is made */
	/* The request that it has answered, or REFUSED: an object was, and
	 * was not asked for again yet. */
	uint64_t seen;
	uint64_t request; /* why it was */
	/* Bytes more than are in `heap_bytes`. */
	int64_t unsaid;
	int64_t before_kib;
	/* Other states have its allocator, maybe on other threads: never
	 * asked again, and not counted. */
	_Atomic bool shared;
};

static int (*control)(struct lua_State *, int what, ...); /* lua_gc */
static lua_allocator *(*get_allocator)(struct lua_State *, void **context);
static void (*set_allocator)(struct lua_State *, lua_allocator *, void *);
static int (*raw_get)(struct lua_State *, int index, long long n);
static struct lua_State *(*to_thread)(struct lua_State *, int index);
static void (*set_top)(struct lua_State *, int index);
static const char *version; /* lua_ident, an array */

static const struct symbol needed[] = {
	{ "lua_gc", &control },      { "lua_getallocf", &get_allocator },
	{ "lua_ident", &version },   { "lua_setallocf", &set_allocator },
	{ "lua_rawgeti", &raw_get }, { "lua_tothread", &to_thread },
	{ "lua_settop", &set_top },
};

static _Atomic uint64_t wanted;
static _Atomic uint32_t answers; /* a futex; of this request */
static _Atomic uint32_t states, collecting, collected;
static _Atomic uint64_t went;
static _Atomic int64_t heap_bytes; /* of all states */

/* 0, -ENOENT, or -EOPNOTSUPP with the reason. Once found, they stay. */
static int
find(const char **why)
{
	static const char known[] = "$LuaVersion: Lua 5.4.";
	static _Atomic bool found;

	if (atomic_load(&found))
		return 0;
	if (!symbols_find_all("liblua", needed, sizeof needed / sizeof *needed,
			      NULL))
		return -ENOENT;
	if (strncmp(version, known, sizeof known - 1) == 0 &&
	    version[sizeof known - 1] >= RELEASE_MIN) {
		atomic_store(&found, true);
		return 0;
	}
	*why = "it is not Lua 5.4.4 or a later 5.4";
	return -EOPNOTSUPP;
}

/* ---- on the thread that runs a state, inside an allocation ---- */

static void
answer(struct state *s, uint64_t request)
{
	s->seen = request;
	atomic_fetch_add(&answers, 1);
	futex_wake(&answers, FUTEX_ALL);
}

static void
say(struct state *s)
{
	atomic_fetch_add_explicit(&heap_bytes, s->unsaid, memory_order_relaxed);
	s->unsaid = 0;
}

static inline void
count(struct state *s, size_t less, size_t more)
{
	if (base_unlikely(
		    atomic_load_explicit(&s->shared, memory_order_relaxed)))
		return;
	s->unsaid += (int64_t)more - (int64_t)less;
	if (base_unlikely(s->unsaid > UNSAID_MAX || s->unsaid < -UNSAID_MAX))
		say(s);
}

static int64_t
kib_of(struct state *s)
{
	return control(s->L, LUA_GCCOUNT);
}

/* It was asked for again: the collection is over. */
static void
end_collection(struct state *s)
{
	int64_t after_kib = kib_of(s);

	say(s);
	if (s->before_kib > after_kib)
		atomic_fetch_add(&went, (uint64_t)(s->before_kib - after_kib)
						<< 10);
	control(s->L, LUA_GCRESTART); /* the ordinary cycle begins */
	atomic_fetch_add(&collected, 1);
	atomic_fetch_sub(&collecting, 1);
	answer(s, s->request);
}

/* Whether this allocation shall fail. */
static bool
begin_collection(struct state *s)
{
	uint64_t request = atomic_load(&wanted);
	int running;

	if (!request) {
		s->seen = 0;
		return false;
	}
	running = control(s->L, LUA_GCISRUNNING);
	if (running < 0)
		return false; /* in a finalizer */
	if (running == 0) {
		answer(s, request);
		return false;
	}
	s->before_kib = kib_of(s);
	s->request = request;
	s->seen = REFUSED;
	atomic_fetch_add(&collecting, 1);
	return true;
}

/* A state, not a thread of one (some 200 bytes). */
static bool
makes_state(const void *block, size_t type, size_t bytes)
{
	return !block && type == LUA_TTHREAD && bytes >= STATE_BYTES_MIN;
}

/* The program made another state with what lua_getallocf() said. */
static void
share(struct state *s)
{
	if (atomic_exchange(&s->shared, true))
		return;
	atomic_fetch_sub(&states, 1);
	futex_wake(&answers, FUTEX_ALL);
}

static bool
makes_object(const void *block, size_t type)
{
	return !block && type >= LUA_TSTRING && type <= LUA_TTHREAD;
}

/* The block of the state itself: made, or given up. */
static void *
allocate_state(struct state *s, void *block, size_t old_bytes, size_t bytes)
{
	void *got = s->allocate(s->context, block, old_bytes, bytes);

	if (got || !bytes)
		count(s, block ? old_bytes : 0, bytes);
	if (!block) {
		s->block = got;
	} else if (!bytes && s->L && !atomic_load(&s->shared)) {
		/* else lua_make() frees it, or others have it */
		say(s);
		free(s);
		atomic_fetch_sub(&states, 1);
		futex_wake(&answers, FUTEX_ALL);
	}
	return got;
}

static void *
allocate(void *context, void *block, size_t old_bytes, size_t bytes)
{
	struct state *s = context;
	uint64_t request = atomic_load_explicit(&wanted, memory_order_relaxed);
	void *got;

	if (base_unlikely(block == s->block))
		return allocate_state(s, block, old_bytes, bytes);
	if (base_unlikely(makes_state(block, old_bytes, bytes)))
		share(s);
	if (base_unlikely(request != s->seen) && s->L &&
	    makes_object(block, old_bytes) && !atomic_load(&s->shared)) {
		if (s->seen == REFUSED)
			end_collection(s);
		else if (begin_collection(s))
			return NULL;
	}
	got = s->allocate(s->context, block, old_bytes, bytes);
	if (got || !bytes)
		count(s, block ? old_bytes : 0, bytes);
	return got;
}

/* ---- states come ---- */

static struct state *
new_state(lua_allocator *theirs, void *context)
{
	struct state *s = calloc(1, sizeof *s), *other = context;

	if (!s)
		return NULL;
	if (theirs == allocate) { /* as another state has it */
		theirs = other->allocate;
		context = other->context;
	}
	s->allocate = theirs;
	s->context = context;
	s->seen = atomic_load(&wanted);
	atomic_fetch_add(&states, 1);
	return s;
}

/* Whether that function is of the Lua whose functions we have. */
static bool
is_of_ours(lua_maker *make)
{
	static _Atomic(lua_maker *) known;
	char *theirs, *ours, *end;
	const char *why;

	if (find(&why) != 0)
		return false;
	if (atomic_load(&known) == make)
		return true;
	if (!symbols_data_of((const void *)(uintptr_t)make, &theirs, &end) ||
	    !symbols_data_of((const void *)(uintptr_t)control, &ours, &end) ||
	    theirs != ours)
		return false;
	atomic_store(&known, make);
	return true;
}

struct lua_State *
lua_make(lua_maker *make, lua_allocator *theirs, void *context, unsigned seed)
{
	struct state *s = is_of_ours(make) ? new_state(theirs, context) : NULL;
	struct lua_State *L;

	if (!s)
		return make(theirs, context, seed);
	L = make(allocate, s, seed);
	if (L) {
		s->L = L;
	} else {
		say(s);
		free(s);
		atomic_fetch_sub(&states, 1);
	}
	return L;
}

/* The variable was for this process, which runs it now: true. */
static bool
pull_plant(void)
{
	const char *planted = getenv(LUA_PLANT_NAME);

	if (!planted || strcmp(planted, LUA_PLANT) != 0)
		return false;
	unsetenv(LUA_PLANT_NAME);
	return true;
}

static bool
hand_over(struct lua_State *L)
{
	lua_allocator *theirs;
	struct state *s;
	void *context;

	theirs = get_allocator(L, &context);
	if (theirs == allocate)
		return true;
	s = new_state(theirs, context);
	if (!s)
		return false;
	raw_get(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
	s->L = to_thread(L, -1);
	set_top(L, -2);
	/* lua_getextraspace(): where its block begins. */
	s->block = (char *)s->L - sizeof(void *);
	s->unsaid = kib_of(s) << 10;
	say(s);
	set_allocator(L, allocate, s);
	return true;
}

SPW_EXPORT int
spw_gc_lua(struct lua_State *L)
{
	const char *why = "its symbols are not all there";
	bool planted;

	ELSEWHERE(spw_gc_lua, L);
	planted = pull_plant();
	if (find(&why) != 0)
		log_write(SPW_LOG_WARNING, "gc lua: cannot be asked: %s", why);
	else if (hand_over(L) && !planted)
		spw_gc_attach("lua"); /* else passes look by themselves */
	return 0;
}

/* ---- the bridge ---- */

/* States of other threads are not collected any more. */
static void
fork_child(void)
{
	atomic_store(&wanted, 0);
	atomic_store(&collecting, 0);
}

static int
probe(bool attached, const char **why)
{
	static _Atomic bool handlers_there;
	int error = find(why);

	if (!error && !atomic_exchange(&handlers_there, true))
		pthread_atfork(NULL, NULL, fork_child);
	if (error || atomic_load(&states))
		return error;
	if (!attached)
		return -EAGAIN;
	*why = "no state of it was handed over, see spw_gc_lua()";
	return -EOPNOTSUPP;
}

/* Until every state has answered; those that are idle are not waited for once
 * another has. */
static void
await(uint64_t until_ns)
{
	uint64_t now = clock_now_ns();

	while (now < until_ns) {
		uint32_t seen = atomic_load(&answers);
		bool busy = atomic_load(&collecting) != 0;

		if (seen >= atomic_load(&states) && !busy)
			return;
		if (seen && !busy && until_ns > now + OTHERS_NS)
			until_ns = now + OTHERS_NS;
		futex_wait(&answers, seen, OTHERS_NS);
		now = clock_now_ns();
	}
}

static size_t
collect(enum spw_level level, uint64_t deadline_ns, void *unused)
{
	static uint64_t request;

	(void)level;
	(void)deadline_ns;
	(void)unused;
	atomic_store(&went, 0);
	atomic_store(&collected, 0);
	atomic_store(&answers, 0);
	atomic_store(&wanted, ++request);
	await(clock_now_ns() + PATIENCE_NS);
	atomic_store(&wanted, 0);
	while (atomic_load(&collecting))
		await(clock_now_ns() + CLOCK_S);
	return atomic_load(&collected) ? (size_t)atomic_load(&went) :
					 SPW_SHRINK_LATER;
}

/* What Lua freed is malloc's, and goes a little later: resident memory would
 * say that it gained nothing. */
static size_t
heap(void *unused)
{
	int64_t bytes = atomic_load(&heap_bytes);

	(void)unused;
	return bytes > 0 ? (size_t)bytes : 0;
}

const struct bridge_runtime lua_runtime = {
	.name = "lua",
	.by_default = true,
	.probe = probe,
	.collect = collect,
	.heap = heap,
};
