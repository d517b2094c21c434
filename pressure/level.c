/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control law.
 *
 * Called by the monitor for every reading; calls nothing but settings().
 * Invariant: a level rises at once and falls slowly; a deficit is never more
 * than what brings headroom back to 1.5 times the soft watermark.
 *
 * Watermarks are sized from time: soft is what others can take in 250 ms, hard
 * in 20 ms. "Others" is everything but our own heap, whose growth the gate
 * sees synchronously: counting it would purge a program that only fills its
 * heap. Starting values from senpai, Midas, systemd and our measurements
 * (doc/ARCHITECTURE.md, decisions).
 *
 * No lock; one owner.
 */
#include "pressure/level.h"

#include "base/clock.h"
#include "base/settings.h"

#define MIB (1ull << 20)

/* The fastest growth that was measured: a thread touching fresh pages. */
#define BURST_BYTES_PER_S 2500000000ull

/* Slower growth is none. */
#define SLOW_BYTES_PER_S (16 * MIB)
#define NOISE_MAX_BYTES (8 * MIB)
/* The same where the program's own coming and going is in it, huge pages of
 * it at once: in 250 ms this takes less than the least soft. */
#define SLOW_UNHOOKED_BYTES_PER_S (96 * MIB)
#define NOISE_UNHOOKED_BYTES (4 * MIB)

#define POLL_MIN_NS (1 * CLOCK_MS)
/* At `limit:` nobody dies; a wake-up of a virtual machine costs 50 us. */
#define POLL_OWN_GROWING_NS (10 * CLOCK_MS)
#define POLL_OWN_NS (40 * CLOCK_MS)
#define POLL_GROWING_MAX_NS (100 * CLOCK_MS)
/* A program that grows looks again at least so often: it may have been moved
 * to another group. */
#define CREDIT_MAX (64ll << 20)
/* An idle process sleeps, though nothing tells that it was moved. */
#define POLL_IDLE_MAX_NS (60 * CLOCK_S)
/* With nothing to give, looking is for seeing that there is again. */
#define POLL_NOTHING_NS (100 * CLOCK_MS)
#define NOTHING_BYTES (1 * MIB)

#define CALM_NS (2 * CLOCK_S)
/* A pressure that no pass relieves is not ours to relieve. */
#define DECAY_NS (10 * CLOCK_S)
#define DECAY_PASSES 3

#define STALL_WINDOW_NS (2 * CLOCK_S)
#define STALL_US 20000 /* 1 % of the window */

static uint64_t
max3(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t ab = a > b ? a : b;

	return ab > c ? ab : c;
}

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* `percent` of a limit, also of UINT64_MAX. */
static uint64_t
share(uint64_t bytes, unsigned hundredths)
{
	return bytes / 10000 * hundredths;
}

/* Nobody kills at limit:, and nobody else grows: a sixteenth of the distance, an
 * eighth of the least, and of what is rated growth some is only touched later
 * than it was charged. */
static void
watermarks(const struct level *level, const struct limits_reading *reading,
	   struct level_output *output)
{
	const struct settings *s = settings();
	uint64_t limit = reading->limit_bytes;
	bool own = reading->kind == LIMITS_OWN;
	unsigned near = own ? 8 : 1, nearer = own ? 16 : 1;
	unsigned soft_part = s->soft_hundredths ? s->soft_hundredths :
						  600 / nearer;
	unsigned hard_part = s->hard_hundredths ? s->hard_hundredths :
						  200 / nearer;
	uint64_t soft = s->soft_bytes ? s->soft_bytes : 24 * MIB / near;
	uint64_t hard = s->hard_bytes ? s->hard_bytes : 8 * MIB / near;
	uint64_t r = level->growth_bytes_per_s / (near * near);

	/* Of a large machine, 6 % would be gigabytes that nobody misses. */
	soft = max3(soft, smaller(share(limit, soft_part), 1024 * MIB), r / 4);
	hard = max3(hard, smaller(share(limit, hard_part), 256 * MIB), r / 50);
	output->soft_bytes = smaller(soft, share(limit, 2500));
	output->hard_bytes = smaller(hard, share(limit, 500));
}

/* Usage of another group, or with page cache in it, is no growth. */
static bool
same_measure(const struct level *level, const struct limits_reading *r)
{
	return r->kind == level->last_kind && r->group == level->last_group &&
	       r->stat_read == level->last_stat_read;
}

static uint64_t
slow_bytes_per_s(const struct level_input *input)
{
	return input->unhooked ? SLOW_UNHOOKED_BYTES_PER_S : SLOW_BYTES_PER_S;
}

/* Usage differs by so much from one reading to the next. */
static uint64_t
noise_bytes(const struct level_input *input)
{
	uint64_t cache = smaller(input->reading.cache_bytes / 8,
				 NOISE_MAX_BYTES);

	return input->unhooked && cache < NOISE_UNHOOKED_BYTES ?
		       NOISE_UNHOOKED_BYTES :
		       cache;
}

/*
 * What others grew by since the last reading. Page cache that streams makes
 * usage and its own size, which are read one after the other and counted in
 * batches for each processor, differ by some MiB from one reading to the next
 * (measured: 3 of 60, which as growth of 10 ms would be 200 MB/s); so does a
 * heap that is not ours, by huge pages (2.5 of 340). What does not rise above
 * `base` by more than that is not growth. base falls at once with usage and
 * rises with our own heap, and by what is too slow to matter.
 */
static uint64_t
grown_bytes(struct level *level, const struct level_input *input, uint64_t used,
	    uint64_t ns)
{
	const struct limits_reading *r = &input->reading;
	uint64_t noise = noise_bytes(input);
	uint64_t slow = smaller(ns, CLOCK_S) / 1000 * slow_bytes_per_s(input) /
			(CLOCK_S / 1000);
	uint64_t excess;

	level->base_bytes += input->charged_bytes - level->last_charged_bytes;
	if (!level->last_ns || !same_measure(level, r) ||
	    used < level->base_bytes)
		level->base_bytes = used;
	excess = used - level->base_bytes;
	if (excess <= noise) {
		level->base_bytes += smaller(excess, slow);
		return 0;
	}
	level->base_bytes = used - noise;
	return excess - noise;
}

/* As a rate that rises fast and falls within 100 ms. */
static void
note_growth(struct level *level, const struct level_input *input)
{
	const struct limits_reading *r = &input->reading;
	uint64_t used = limits_held_bytes(r);
	uint64_t ns = input->now_ns - level->last_ns;
	uint64_t own = input->charged_bytes - level->last_charged_bytes;
	uint64_t grown, rate, tau;

	if (ns < CLOCK_MS / 2 && level->last_ns)
		return;
	grown = grown_bytes(level, input, used, ns);
	if (ns > CLOCK_S)
		ns = CLOCK_S;
	rate = ns ? (uint64_t)((double)grown * 1e9 / (double)ns) : 0;
	tau = rate > level->growth_bytes_per_s ? 10 * CLOCK_MS : 100 * CLOCK_MS;
	if (ns >= tau)
		level->growth_bytes_per_s = rate;
	else
		level->growth_bytes_per_s =
			(uint64_t)((double)level->growth_bytes_per_s +
				   ((double)rate -
				    (double)level->growth_bytes_per_s) *
					   (double)ns / (double)tau);
	/* After a long sleep the rate is an average of nothing: who crossed a
	 * threshold is looked at again soon; so is our own heap at `limit:`,
	 * where it may go on without credit. */
	if (rate > slow_bytes_per_s(input) || input->crossed ||
	    (r->kind == LIMITS_OWN && own >= MIB))
		level->growing_until_ns = input->now_ns + CLOCK_S / 4;
	level->last_ns = input->now_ns;
	level->last_kind = r->kind;
	level->last_group = r->group;
	level->last_stat_read = r->stat_read;
	level->last_charged_bytes = input->charged_bytes;
}

/*
 * Stalls count where memory is indeed short. A group whose page cache is
 * reclaimed stalls for 2 to 10 % of the time with headroom left, and on
 * cgroup v1 the only stall that is told is the whole machine's: of a group,
 * one counts where headroom is low already. The machine's own counts below a
 * quarter, since MemAvailable is an estimate.
 */
static bool
stall_is_ours(const struct limits_reading *r, enum spw_level by_headroom)
{
	return by_headroom > SPW_LEVEL_NONE || r->limit_bytes == UINT64_MAX ||
	       (r->kind == LIMITS_MACHINE &&
		r->headroom_bytes < r->limit_bytes / 4);
}

/* The size is senpai's curve: 1 to 25 % of what there is. */
static void
note_stall(struct level *level, const struct level_input *input,
	   enum spw_level by_headroom)
{
	uint64_t part = 0;

	if (input->stall_us >= STALL_US &&
	    stall_is_ours(&input->reading, by_headroom)) {
		uint64_t times = input->stall_us / STALL_US;
		part = 100 + smaller(times * times * 25, 2400);
	}
	if (input->asked) {
		bool again = level->asked_ns &&
			     input->now_ns - level->asked_ns < 4 * CLOCK_S;
		part = part > 500 ? part : 500;
		if (again)
			part = 2500;
		level->asked_ns = input->now_ns;
	}
	if (part) {
		level->stalled_until_ns = input->now_ns + STALL_WINDOW_NS;
		level->stall_deficit_bytes = share(input->reclaimable_bytes,
						   (unsigned)part);
	} else {
		level->stall_deficit_bytes = 0;
	}
}

static enum spw_level
level_of_headroom(const struct level_input *input,
		  const struct level_output *output, uint64_t *deficit)
{
	uint64_t h = input->reading.headroom_bytes;

	*deficit = 0;
	if (h < output->hard_bytes) {
		*deficit = 2 * output->hard_bytes - h + input->waiting_bytes +
			   limits_over_bytes(&input->reading);
		return SPW_LEVEL_CRITICAL;
	}
	if (h < output->soft_bytes) {
		*deficit = output->soft_bytes + output->soft_bytes / 8 - h;
		return SPW_LEVEL_MEDIUM;
	}
	if (h < output->soft_bytes + output->soft_bytes / 2) {
		*deficit = output->soft_bytes + output->soft_bytes / 2 - h;
		return SPW_LEVEL_LOW;
	}
	return SPW_LEVEL_NONE;
}

/*
 * Whether this pressure is one that passes do not relieve. Plenty ends it, and
 * so does less headroom than there was when it was given up: what comes then
 * is another pressure, with futile passes of its own.
 */
static bool
is_hopeless(struct level *level, enum spw_level now,
	    const struct level_input *in, const struct level_output *out)
{
	uint64_t h = in->reading.headroom_bytes;

	if (now == SPW_LEVEL_NONE || in->futile_passes < level->futile_base ||
	    (level->given_up_bytes &&
	     h + out->soft_bytes / 8 < level->given_up_bytes)) {
		level->futile_base = in->futile_passes;
		level->given_up_bytes = 0;
	}
	if (in->futile_passes - level->futile_base < DECAY_PASSES ||
	    in->now_ns - level->raised_ns <= DECAY_NS)
		return false;
	if (h >= level->given_up_bytes)
		level->given_up_bytes = h + 1;
	return true;
}

/* Rises at once; falls one step at a time, when it has been calm. */
static void
settle(struct level *level, enum spw_level now, const struct level_input *in,
       const struct level_output *out)
{
	uint64_t h = in->reading.headroom_bytes;
	uint64_t leave = level->level == SPW_LEVEL_CRITICAL ?
				 2 * out->hard_bytes :
			 level->level == SPW_LEVEL_MEDIUM ?
				 out->soft_bytes + out->soft_bytes / 5 :
				 out->soft_bytes + out->soft_bytes / 2;
	bool hopeless = is_hopeless(level, now, in, out);

	if (now > level->level && !hopeless) {
		level->level = now;
		level->raised_ns = in->now_ns;
		level->calm_since_ns = 0;
		return;
	}
	if ((h < leave || in->now_ns < level->stalled_until_ns) && !hopeless) {
		level->calm_since_ns = 0;
		return;
	}
	if (level->level == SPW_LEVEL_NONE)
		return;
	if (level->level == SPW_LEVEL_CRITICAL && !hopeless) {
		level->level = now > SPW_LEVEL_MEDIUM ? now : SPW_LEVEL_MEDIUM;
		return;
	}
	if (!level->calm_since_ns)
		level->calm_since_ns = in->now_ns;
	if (in->now_ns - level->calm_since_ns >= CALM_NS) {
		level->level--;
		level->calm_since_ns = in->now_ns;
	}
}

static uint64_t
poll_interval(const struct level *level, const struct level_input *in,
	      const struct level_output *out)
{
	uint64_t h = in->reading.headroom_bytes;
	uint64_t ns, spare;
	bool growing = in->now_ns < level->growing_until_ns;
	uint64_t own_ns = growing ? POLL_OWN_GROWING_NS : POLL_OWN_NS;

	if (in->reading.limit_bytes == UINT64_MAX)
		return level->level > SPW_LEVEL_NONE ? CLOCK_S / 2 :
						       POLL_IDLE_MAX_NS;
	/* How long until the hard watermark, should somebody run for it. */
	spare = h > out->hard_bytes ? h - out->hard_bytes : h / 2;
	ns = (uint64_t)((double)spare * 0.4 * 1e9 / BURST_BYTES_PER_S);
	if (in->covered && !growing && level->level == SPW_LEVEL_NONE)
		ns = POLL_IDLE_MAX_NS;
	else if (growing && ns > POLL_GROWING_MAX_NS)
		ns = POLL_GROWING_MAX_NS;
	if (in->reclaimable_bytes < NOTHING_BYTES && ns < POLL_NOTHING_NS)
		ns = POLL_NOTHING_NS;
	if (level->level > SPW_LEVEL_NONE && ns > CLOCK_S / 2)
		ns = CLOCK_S / 2; /* to see that it is over */
	if (ns < POLL_MIN_NS)
		ns = POLL_MIN_NS;
	if (in->reading.kind == LIMITS_OWN && ns < own_ns)
		ns = own_ns;
	return ns < POLL_IDLE_MAX_NS ? ns : POLL_IDLE_MAX_NS;
}

static int64_t
signed_bytes(uint64_t bytes)
{
	return bytes > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)bytes;
}

void
level_update(struct level *level, const struct level_input *input,
	     struct level_output *output)
{
	int64_t headroom = signed_bytes(input->reading.headroom_bytes);
	enum spw_level now;

	note_growth(level, input);
	watermarks(level, &input->reading, output);
	now = level_of_headroom(input, output, &output->deficit_bytes);
	note_stall(level, input, now);
	if (input->now_ns < level->stalled_until_ns && now < SPW_LEVEL_MEDIUM)
		now = SPW_LEVEL_MEDIUM;
	if (output->deficit_bytes < level->stall_deficit_bytes)
		output->deficit_bytes = level->stall_deficit_bytes;
	settle(level, now, input, output);
	output->level = level->level;
	if (now < SPW_LEVEL_MEDIUM && !level->stall_deficit_bytes &&
	    level->level > SPW_LEVEL_LOW)
		output->deficit_bytes = 0; /* only waiting for calm */
	output->credit_bytes = headroom - signed_bytes(output->soft_bytes) -
			       signed_bytes(input->recent_bytes);
	/* Look again before half of what is left is gone. */
	if (output->credit_bytes > 0)
		output->credit_bytes -= output->credit_bytes / 2;
	if (output->credit_bytes > CREDIT_MAX)
		output->credit_bytes = CREDIT_MAX;
	output->slack_bytes = signed_bytes(output->soft_bytes) -
			      signed_bytes(output->hard_bytes);
	output->poll_ns = poll_interval(level, input, output);
}
