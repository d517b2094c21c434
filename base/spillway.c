/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public functions that need nothing but this folder: version, words for
 * errors, settings.
 *
 * Called by programs; calls settings and the log. spw_strerror() and
 * spw_version() return static text and touch nothing else.
 */
#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <spillway/spillway.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/elsewhere.h"
#include "base/log.h"
#include "base/settings.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unversioned" /* built without configure */
#endif

SPW_EXPORT const char *
spw_version(void)
{
	return PACKAGE_VERSION;
}

/* The errors of our own functions in words that fit them. */
static const char *
own_words(int error)
{
	switch (error) {
	case 0:
		return "success";
	case EINVAL:
		return "invalid argument";
	case ENOMEM:
		return "out of memory, or over a limit";
	case ENOTSUP:
		return "spillway is off in this process";
	case ENOSYS:
		return "no jemalloc in this process";
	case ENOSPC:
		return "too many arenas";
	case EBUSY:
		return "too late: spillway already runs in this process";
	case EDEADLK:
		return "not allowed inside a callback or a read-side section";
	case ETIMEDOUT:
		return "timed out";
	case EINTR:
		return "interrupted by a signal";
	case ENOENT:
		return "not found";
	case EAGAIN:
		return "no thread could be started; try again";
	case EMFILE:
		return "too many open descriptors";
	default:
		return NULL;
	}
}

SPW_EXPORT const char *
spw_strerror(int error)
{
	/* INT_MIN has no positive counterpart, and is no error. */
	int number = error < 0 && error != INT_MIN ? -error : error;
	const char *words = own_words(number);

#ifdef __GLIBC__
#if __GLIBC_PREREQ(2, 32)
	/* Static and untranslated, unlike strerror(3). */
	if (!words)
		words = strerrordesc_np(number);
#endif
#endif
	return words ? words : "unknown error";
}

SPW_EXPORT int
spw_configure(const char *text)
{
	char bad[SETTINGS_BAD_BYTES];
	int error;

	ELSEWHERE(spw_configure, text);
	if (!text) {
		log_complain("spw_configure: no text (NULL)");
		return -EINVAL;
	}
	settings_load();
	error = settings_parse(settings(), text, settings_started(), bad);
	if (error) {
		log_complain("spw_configure: %s", bad);
		return error;
	}
	log_level_set((enum spw_log_level)settings()->log_level);
	settings_tell();
	return 0;
}
