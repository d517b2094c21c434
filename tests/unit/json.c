/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pressure/json.c writes what cli/reply.c reads.
 */
#include <errno.h>
#include <string.h>

#include "cli/reply.h"
#include "pressure/json.h"
#include "tests/tap.h"

static char text[512];

static void
nesting(void)
{
	struct json j;

	json_begin(&j, text, sizeof text);
	json_open(&j, NULL, '{');
	json_number(&j, "n", UINT64_MAX - 1);
	json_limit(&j, "none", UINT64_MAX);
	json_bool(&j, "yes", true);
	json_thousandths(&j, "part", 1042);
	json_open(&j, "list", '[');
	json_number(&j, NULL, 1);
	json_open(&j, NULL, '{');
	json_close(&j, '}');
	json_string(&j, NULL, "a");
	json_close(&j, ']');
	json_open(&j, "empty", '[');
	json_close(&j, ']');
	json_close(&j, '}');
	tap_is(json_end(&j), (int)strlen(text), "the end gives the length");
	tap_is_text(text,
		    "{\"n\":18446744073709551614,\"none\":null,\"yes\":true,"
		    "\"part\":1.042,\"list\":[1,{},\"a\"],\"empty\":[]}",
		    "commas stand between values and nowhere else");
	tap_ok(reply_check(text), "the reader takes what the writer wrote");
}

static void
escapes(void)
{
	static const struct {
		const char *in, *out, *name;
	} cases[] = {
		{ "a\"b\\c", "[\"a\\\"b\\\\c\"]", "quotes and backslashes" },
		{ "\n\x1b\x7f", "[\"\\u000a\\u001b\\u007f\"]",
		  "control characters" },
		{ "\xc3\xa9\xf0\x9f\x98\x80", "[\"\xc3\xa9\xf0\x9f\x98\x80\"]",
		  "UTF-8 stays" },
		{ "a\xffz", "[\"a\xef\xbf\xbdz\"]", "a stray byte" },
		{ "\xe2\x82", "[\"\xef\xbf\xbd\xef\xbf\xbd\"]",
		  "a sequence cut short at the end" },
		{ "\xc0\xaf", "[\"\xef\xbf\xbd\xef\xbf\xbd\"]",
		  "an overlong sequence" },
		{ "\xed\xa0\x80", "[\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"]",
		  "a surrogate" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct json j;

		json_begin(&j, text, sizeof text);
		json_open(&j, NULL, '[');
		json_string(&j, NULL, cases[i].in);
		json_close(&j, ']');
		tap_is_text(text, cases[i].out, "%s: escaped as it should",
			    cases[i].name);
	}
}

static void
overflow(void)
{
	struct json j;
	size_t mark;
	bool all_ended = true;

	for (size_t bytes = 1; bytes < 24; bytes++) {
		memset(text, 'x', sizeof text);
		json_begin(&j, text, bytes);
		json_open(&j, NULL, '{');
		json_string(&j, "key", "0123456789");
		json_close(&j, '}');
		all_ended &= memchr(text, '\0', bytes) != NULL &&
			     text[bytes] == 'x' &&
			     (json_end(&j) == 20) == (bytes > 20);
	}
	tap_ok(all_ended, "what does not fit is cut inside the buffer");
	json_begin(&j, text, 16);
	json_open(&j, NULL, '[');
	json_number(&j, NULL, 1);
	mark = json_mark(&j);
	json_string(&j, NULL, "does not fit at all");
	tap_is(json_end(&j), -EFBIG, "an overflow is said");
	json_rewind(&j, mark);
	json_close(&j, ']');
	tap_is_text(text, "[1]", "after going back it is well-formed");
}

static void
reader(void)
{
	static const char good[] =
		" {\"a\" : {\"b\": [ ], \"c\": -1.5e3}, \"s\": \"x\\u0041"
		"\\\"y\\n\", \"n\": 7, \"l\": [ {\"v\": 1} , {\"v\":2} ],"
		"\"t\":true,\"z\":null} ";
	static const char *const bad[] = {
		"",
		"[]",
		"{",
		"{\"a\"}",
		"{\"a\":}",
		"{,}",
		"{\"a\":1,}",
		"{\"a\":1}x",
		"{\"a\":[1,]}",
		"{\"a\":\"\n\"}",
		"{\"a\":\"\\x\"}",
		"{\"a\":\"\\u12\"}",
		"{\"a\":tru}",
		"{\"a\":1]",
		"{\"a",
		"{\"a\":\"",
		"{a:1}",
	};
	char deep[128] = "{\"a\":", word[8];
	uint64_t number;
	bool flag = false;
	const char *item;

	tap_ok(reply_check(good), "a good text is taken");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		tap_ok(!reply_check(bad[i]), "refused: bad text %zu", i);
	memset(deep + 5, '[', 60);
	memset(deep + 65, ']', 60);
	tap_ok(!reply_check(deep), "too many levels are refused");
	tap_ok(reply_number(good, "n", &number) && number == 7,
	       "a number is found");
	tap_ok(!reply_number(good, "a.c", &number) ||
		       reply_find(good, "a.c") != NULL,
	       "a path goes down");
	tap_ok(!reply_number(good, "z", &number) &&
		       !reply_number(good, "nothing", &number) &&
		       !reply_number(good, "n.x", &number),
	       "null, a missing key and a path too far are no numbers");
	tap_ok(reply_bool(good, "t", &flag) && flag, "true is true");
	tap_is_text(reply_string(good, "s", word, sizeof word), "x?\"y?",
		    "escapes are undone, controls are not shown");
	tap_is_text(reply_string(good, "s", word, 3), "x?",
		    "a long string is cut");
	item = reply_first(reply_find(good, "l"));
	tap_ok(item && reply_number(item, "v", &number) && number == 1,
	       "a list's first");
	item = reply_next(item);
	tap_ok(item && reply_number(item, "v", &number) && number == 2,
	       "a list's second");
	tap_ok(!reply_next(item) && !reply_first(reply_find(good, "a.b")),
	       "a list's end, and an empty list");
}

int
main(void)
{
	nesting();
	escapes();
	overflow();
	reader();
	return tap_done();
}
