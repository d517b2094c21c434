/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading settings: one table, one loop.
 *
 * settings_load() is called by the core inside the first malloc of a process;
 * settings_parse() by it, by spw_configure() and by the fuzzer. Calls units
 * and the log; allocates nothing.
 *
 * A text is read item by item into a copy of the settings on the stack (5 KiB);
 * only when every item is good are the members that it names put into place,
 * one by one, so that a bad text changes nothing and threads that read a
 * member see the old value or the new one.
 *
 * `lock` keeps two texts apart and guards the tiers; numbers are atomic.
 * The table is also what the manual, `spillway run --help` and the shell
 * completion show.
 */
#include "base/settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spillway/spillway.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/units.h"
#include "base/words.h"

enum kind {
	KIND_FLAG, /* words; the bare key means the last of them */
	KIND_WORD, /* the value's place among the words in .values */
	KIND_BYTES,
	KIND_MARK, /* bytes, or hundredths of a percent beside them */
	KIND_NS,
	KIND_SOURCE, /* off|on: the bit `least` of sources */
	KIND_SET,    /* words with + between: bits of their places */
	KIND_TIER,
	KIND_PATH,
};

struct key {
	struct settings_key shown;
	enum kind kind;
	size_t offset; /* of the member in struct settings */
	size_t offset_hundredths;
	uint64_t least, most;
};

#define AT(member) offsetof(struct settings, member)
#define EARLY true
#define ANY_TIME false

/* One row: the shown part first. */
#define KEY(name, values, start, help, early, ...)                \
	{                                                         \
		{ name, values, start, help, early }, __VA_ARGS__ \
	}
#define WORD(name, values, start, help, early, member) \
	KEY(name, values, start, help, early, KIND_WORD, AT(member), 0, 0, 0)
#define SOURCE(name, bit, help)                                                \
	KEY(name, "off|on", "on", help, ANY_TIME, KIND_SOURCE, AT(sources), 0, \
	    bit, 0)

static const struct key keys[] = {
	KEY("off", "no|yes", "no", "be plain jemalloc, do nothing else", EARLY,
	    KIND_FLAG, AT(off), 0, 0, 0),
	WORD("threads", "auto|never", "auto",
	     "never: sense in the allocation hooks alone", EARLY, threads),
	KEY("limit", "SIZE or none", "none", "a limit of this process's own",
	    ANY_TIME, KIND_BYTES, AT(limit_bytes), 0, 4096, INT64_MAX),
	WORD("oom", "kernel|fail", "kernel",
	     "when nothing is left to give: go on, or NULL", ANY_TIME, oom),
	WORD("pagecache", "ignore|share", "ignore",
	     "whether page cache in use counts as headroom", ANY_TIME,
	     pagecache),
	KEY("soft", "SIZE or PERCENT", "24M and 6%",
	    "headroom below which reclaim begins, at least", ANY_TIME,
	    KIND_MARK, AT(soft_bytes), AT(soft_hundredths), 1, INT64_MAX),
	KEY("hard", "SIZE or PERCENT", "8M and 2%",
	    "headroom below which growth waits, at least", ANY_TIME, KIND_MARK,
	    AT(hard_bytes), AT(hard_hundredths), 1, INT64_MAX),
	KEY("gate", "TIME", "10ms", "longest wait of one malloc; 0: never",
	    ANY_TIME, KIND_NS, AT(gate_ns), 0, 0, 10 * CLOCK_S),
	KEY("deadline", "TIME", "250ms", "for one call of one shrinker",
	    ANY_TIME, KIND_NS, AT(deadline_ns), 0, CLOCK_MS, 3600 * CLOCK_S),
	KEY("start", "SIZE", "16M", "heap from which threads are worth it",
	    ANY_TIME, KIND_BYTES, AT(start_bytes), 0, 0, INT64_MAX),
	KEY("tier", "NAME=TIER", "as registered",
	    "overrides one shrinker's tier; may be repeated", ANY_TIME,
	    KIND_TIER, 0, 0, 0, 0),
	WORD("huge", "off|on", "off", "huge pages for the heap", ANY_TIME,
	     huge),
	KEY("gc", SETTINGS_GC_WORDS, "auto",
	    "which collectors in the process are asked; + between", ANY_TIME,
	    KIND_SET, AT(gc), 0, 0, 0),
	KEY("gc-interval", "TIME", "10s",
	    "a tenth of it is least between two collections; 0: always, at once",
	    ANY_TIME, KIND_NS, AT(gc_interval_ns), 0, 0, 3600 * CLOCK_S),
	WORD("log", "off|error|warning|info|debug", "off",
	     "messages on standard error", ANY_TIME, log_level),
	SOURCE("cgroup", SETTINGS_CGROUP, "limits of control groups"),
	SOURCE("machine", SETTINGS_MACHINE, "memory left in the machine"),
	SOURCE("rlimit", SETTINGS_RLIMIT, "RLIMIT_AS and RLIMIT_DATA"),
	SOURCE("psi", SETTINGS_PSI, "stalls that the kernel measures"),
	SOURCE("notify", SETTINGS_NOTIFY, "events of control groups"),
	SOURCE("systemd", SETTINGS_SYSTEMD, "MEMORY_PRESSURE_WATCH"),
	SOURCE("control", SETTINGS_CONTROL, "the socket of `spillway stat`"),
	KEY("root", "DIR", "", "in front of /proc and /sys, for tests", EARLY,
	    KIND_PATH, AT(root), 0, 0, 0),
};

#define KEYS (sizeof keys / sizeof *keys)
_Static_assert(KEYS <= 32, "one bit a key in struct draft");

static struct settings current = {
	.limit_bytes = UINT64_MAX,
	.sources = SETTINGS_SOURCES_ALL,
	.gate_ns = 10 * CLOCK_MS,
	.deadline_ns = 250 * CLOCK_MS,
	.start_bytes = 16ull << 20,
	.huge = 0,
	.gc = SETTINGS_GC_AUTO,
	.gc_interval_ns = 10 * CLOCK_S,
};
static struct base_lock lock = BASE_LOCK(BASE_RANK_SETTINGS);
static _Atomic bool loaded, started_now;
static void (*_Atomic changed_call)(void);

/* One item of the text, and the text's effect so far. */
struct item {
	const char *text;
	size_t length, name_length;
	const char *value; /* NULL: a bare key */
	size_t value_length;
};

struct draft {
	struct settings settings;
	unsigned seen; /* bits of keys[] */
	char *bad;     /* NULL: nobody asks */
};

static const char *const tier_names[] = { "free", "cold", "garbage", "warm",
					  "last" };
static const enum spw_tier tier_values[] = { SPW_TIER_FREE, SPW_TIER_COLD,
					     SPW_TIER_GARBAGE, SPW_TIER_WARM,
					     SPW_TIER_LAST };
#define TIERS (sizeof tier_names / sizeof *tier_names)

struct settings *
settings(void)
{
	return &current;
}

const struct settings_key *
settings_key(unsigned i)
{
	return i < KEYS ? &keys[i].shown : NULL;
}

static void *
member(struct settings *s, size_t offset)
{
	return (char *)s + offset;
}

/* "ITEM: reason" into draft->bad; -EINVAL. */
static int __attribute__((format(printf, 3, 4)))
refuse(struct draft *draft, const struct item *item, const char *format, ...)
{
	size_t shown = item->length > 64 ? 61 : item->length;
	va_list arguments;
	size_t n = 0;

	if (!draft->bad)
		return -EINVAL;
	for (; n < shown; n++)
		draft->bad[n] = item->text[n] >= ' ' && item->text[n] < 0x7f ?
					item->text[n] :
					'?';
	n += (size_t)snprintf(draft->bad + n, SETTINGS_BAD_BYTES - n,
			      "%s: ", shown < item->length ? "..." : "");
	va_start(arguments, format);
	vsnprintf(draft->bad + n, SETTINGS_BAD_BYTES - n, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

static bool
is_text(const char *text, size_t length, const char *word)
{
	return strlen(word) == length && memcmp(text, word, length) == 0;
}

static int
parse_word(struct draft *draft, const struct key *key, const struct item *item)
{
	const char *words = key->shown.values;
	char told[128];
	int i = words_index(words, item->value, item->value_length);

	if (i < 0)
		return refuse(draft, item, "use %s",
			      words_told(told, sizeof told, words));
	if (key->kind != KIND_SOURCE)
		*(_Atomic int *)member(&draft->settings, key->offset) = i;
	else if (i)
		draft->settings.sources |= (unsigned)key->least;
	else
		draft->settings.sources &= ~(unsigned)key->least;
	return 0;
}

static int
parse_bytes(struct draft *draft, const struct key *key, const struct item *item)
{
	char reason[UNITS_REASON_BYTES], least[UNITS_BYTES];
	uint64_t bytes;

	if (key->offset == AT(limit_bytes) &&
	    is_text(item->value, item->value_length, "none")) {
		bytes = UINT64_MAX;
	} else if (units_parse_bytes(item->value, item->value_length, &bytes) !=
		   0) {
		units_explain(reason, UNITS_BYTES_KIND, item->value,
			      item->value_length);
		return refuse(draft, item, "%s", reason);
	} else if (bytes < key->least) {
		units_format_bytes(least, key->least);
		return refuse(draft, item, "too small; the least is %s", least);
	}
	*(_Atomic uint64_t *)member(&draft->settings, key->offset) = bytes;
	return 0;
}

/* A size or a percentage; the other of the two stays as it is. */
static int
parse_mark(struct draft *draft, const struct key *key, const struct item *item)
{
	char reason[UNITS_REASON_BYTES];
	unsigned hundredths;

	if (item->value_length == 0 ||
	    item->value[item->value_length - 1] != '%')
		return parse_bytes(draft, key, item);
	if (units_parse_percent(item->value, item->value_length, &hundredths) !=
	    0) {
		units_explain(reason, UNITS_PERCENT_KIND, item->value,
			      item->value_length);
		return refuse(draft, item, "%s", reason);
	}
	if (hundredths == 0)
		return refuse(draft, item, "too small; the least is 0.01%%");
	*(_Atomic unsigned *)member(&draft->settings,
				    key->offset_hundredths) = hundredths;
	return 0;
}

static int
parse_ns(struct draft *draft, const struct key *key, const struct item *item)
{
	char reason[UNITS_REASON_BYTES], bound[UNITS_BYTES];
	uint64_t ns;

	if (units_parse_ns(item->value, item->value_length, &ns) != 0) {
		units_explain(reason, UNITS_NS_KIND, item->value,
			      item->value_length);
		return refuse(draft, item, "%s", reason);
	}
	if (ns < key->least)
		return refuse(draft, item, "too short; the least is %s",
			      units_format_ns(bound, key->least));
	if (ns > key->most)
		return refuse(draft, item, "too long; the most is %s",
			      units_format_ns(bound, key->most));
	*(_Atomic uint64_t *)member(&draft->settings, key->offset) = ns;
	return 0;
}

static int
parse_set(struct draft *draft, const struct key *key, const struct item *item)
{
	char told[128];
	unsigned bits;

	if (words_set(key->shown.values, item->value, item->value_length,
		      &bits) != 0)
		return refuse(draft, item, "use %s; + between several",
			      words_told(told, sizeof told, key->shown.values));
	*(_Atomic unsigned *)member(&draft->settings, key->offset) = bits;
	return 0;
}

static int
parse_tier(struct draft *draft, const struct item *item)
{
	struct settings *s = &draft->settings;
	const char *value = item->value;
	size_t name = item->value_length;
	unsigned i;
	int tier;

	while (name > 0 && value[name - 1] != '=')
		name--;
	if (name < 2 || name > SETTINGS_NAME_BYTES)
		return refuse(draft, item,
			      name == 0 ? "write tier:NAME=TIER" :
					  "a name has 1 to 63 bytes");
	tier = settings_tier_parse(value + name, item->value_length - name);
	if (tier < 0)
		return refuse(draft, item,
			      "unknown tier; use free, cold, garbage, warm, "
			      "last or 0 to 40");
	name--; /* without the = */
	for (i = 0; i < s->tiers_count; i++)
		if (is_text(value, name, s->tiers[i].name))
			break;
	if (i == SETTINGS_TIERS_MAX)
		return refuse(draft, item, "too many tiers; the most is %d",
			      SETTINGS_TIERS_MAX);
	if (i == s->tiers_count) {
		memcpy(s->tiers[i].name, value, name);
		s->tiers[i].name[name] = '\0';
		s->tiers_count++;
	}
	s->tiers[i].tier = (enum spw_tier)tier;
	return 0;
}

static int
parse_path(struct draft *draft, const struct item *item)
{
	size_t n = item->value_length;

	if (n == 0 || item->value[0] != '/')
		return refuse(draft, item, "not an absolute path");
	while (n > 0 && item->value[n - 1] == '/')
		n--;
	if (n >= sizeof draft->settings.root)
		return refuse(draft, item, "longer than a path can be");
	memcpy(draft->settings.root, item->value, n);
	draft->settings.root[n] = '\0';
	return 0;
}

static const char *
key_name(unsigned i)
{
	return i < KEYS ? keys[i].shown.name : NULL;
}

static int
refuse_key(struct draft *draft, const struct item *item)
{
	const char *name = nearest_word(item->text, item->name_length,
					key_name);
	const char *is = memchr(item->text, '=', item->name_length);
	char all[192];
	size_t n = 0;

	if (name)
		return refuse(draft, item, "unknown key; did you mean %s?",
			      name);
	for (size_t k = 0; is && k < KEYS; k++)
		if (is_text(item->text, (size_t)(is - item->text),
			    keys[k].shown.name))
			return refuse(draft, item, "write %s:VALUE",
				      keys[k].shown.name);
	for (size_t k = 0; k < KEYS && n < sizeof all; k++)
		n += (size_t)snprintf(all + n, sizeof all - n, "%s%s",
				      k ? ", " : "", keys[k].shown.name);
	return refuse(draft, item, "unknown key; the keys are %s", all);
}

static int
parse_item(struct draft *draft, const struct item *item, bool started)
{
	const struct key *key = NULL;
	struct item bare = *item;
	int error;

	for (size_t k = 0; k < KEYS && !key; k++)
		if (is_text(item->text, item->name_length, keys[k].shown.name))
			key = &keys[k];
	if (!key)
		return refuse_key(draft, item);
	if (started && key->shown.early) {
		refuse(draft, item, "too late: spillway already runs here");
		return -EBUSY;
	}
	if (!item->value) {
		if (key->kind != KIND_FLAG)
			return refuse(draft, item, "a value is missing: %s",
				      key->shown.values);
		bare.value = "yes";
		bare.value_length = 3;
	}
	switch (key->kind) {
	case KIND_FLAG:
	case KIND_WORD:
	case KIND_SOURCE:
		error = parse_word(draft, key, &bare);
		break;
	case KIND_BYTES:
		error = parse_bytes(draft, key, &bare);
		break;
	case KIND_MARK:
		error = parse_mark(draft, key, &bare);
		break;
	case KIND_NS:
		error = parse_ns(draft, key, &bare);
		break;
	case KIND_SET:
		error = parse_set(draft, key, &bare);
		break;
	case KIND_TIER:
		error = parse_tier(draft, &bare);
		break;
	default:
		error = parse_path(draft, &bare);
		break;
	}
	draft->seen |= 1u << (key - keys);
	return error;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The item at `text`, without blanks around it; returns what follows it. */
static const char *
next_item(const char *text, struct item *item)
{
	size_t length = strcspn(text, ",");
	const char *after = text + length + (text[length] == ',');
	const char *colon;

	while (length > 0 && is_blank(text[length - 1]))
		length--;
	while (length > 0 && is_blank(*text)) {
		text++;
		length--;
	}
	colon = memchr(text, ':', length);
	*item = (struct item){ .text = text,
			       .length = length,
			       .name_length = length };
	if (colon) {
		item->name_length = (size_t)(colon - text);
		item->value = colon + 1;
		item->value_length = length - item->name_length - 1;
	}
	return after;
}

/* Puts what the text named into place. */
static void
commit_locked(struct settings *into, struct draft *draft)
{
	struct settings *from = &draft->settings;

	base_assert_held(&lock);
	for (size_t k = 0; k < KEYS; k++) {
		size_t at = keys[k].offset, beside = keys[k].offset_hundredths;

		if (!(draft->seen & (1u << k)))
			continue;
		switch (keys[k].kind) {
		case KIND_FLAG:
		case KIND_WORD:
			*(_Atomic int *)member(into, at) = *(
				_Atomic int *)member(from, at);
			break;
		case KIND_SOURCE:
			into->sources = from->sources;
			break;
		case KIND_SET:
			*(_Atomic unsigned *)member(into, at) = *(
				_Atomic unsigned *)member(from, at);
			break;
		case KIND_MARK:
			*(_Atomic unsigned *)member(into, beside) = *(
				_Atomic unsigned *)member(from, beside);
			/* fall through */
		case KIND_BYTES:
		case KIND_NS:
			*(_Atomic uint64_t *)member(into, at) = *(
				_Atomic uint64_t *)member(from, at);
			break;
		case KIND_TIER:
			memcpy(into->tiers, from->tiers, sizeof into->tiers);
			into->tiers_count = from->tiers_count;
			break;
		case KIND_PATH:
			memcpy(into->root, from->root, sizeof into->root);
			break;
		}
	}
}

int
settings_parse(struct settings *into, const char *text, bool started,
	       char bad[SETTINGS_BAD_BYTES])
{
	struct draft draft = { .bad = bad };
	struct item item;
	int error = 0;

	base_lock(&lock);
	memcpy(&draft.settings, into, sizeof *into);
	while (*text && !error) {
		text = next_item(text, &item);
		if (item.length > 0)
			error = parse_item(&draft, &item, started);
	}
	if (!error)
		commit_locked(into, &draft);
	base_unlock(&lock);
	return error;
}

void
settings_load(void)
{
	char bad[SETTINGS_BAD_BYTES];
	const char *text;

	if (atomic_exchange(&loaded, true))
		return;
	lock_fork_add(&lock);
	text = secure_getenv("SPILLWAY_CONF");
	if (!text)
		return;
	if (settings_parse(&current, text, false, bad) == 0)
		log_level_set((enum spw_log_level)current.log_level);
	else
		log_complain("SPILLWAY_CONF is ignored: %s", bad);
}

void
settings_started_set(void (*changed)(void))
{
	atomic_store(&changed_call, changed);
	atomic_store(&started_now, true);
}

bool
settings_started(void)
{
	return atomic_load(&started_now);
}

void
settings_tell(void)
{
	void (*changed)(void) = atomic_load(&changed_call);

	if (changed)
		changed();
}

int
settings_tier_parse(const char *text, size_t length)
{
	uint64_t number;

	for (size_t i = 0; i < TIERS; i++)
		if (is_text(text, length, tier_names[i]))
			return (int)tier_values[i];
	if (units_parse_number(text, length, &number) == 0 &&
	    number <= SPW_TIER_LAST)
		return (int)number;
	return -1;
}

const char *
settings_tier_name(enum spw_tier tier)
{
	size_t i = TIERS - 1;

	while (i > 0 && tier < tier_values[i])
		i--;
	return tier_names[i];
}

enum spw_tier
settings_tier_of(const char *name, enum spw_tier tier)
{
	base_lock(&lock);
	for (unsigned i = 0; i < current.tiers_count; i++)
		if (strcmp(current.tiers[i].name, name) == 0)
			tier = current.tiers[i].tier;
	base_unlock(&lock);
	return tier;
}
