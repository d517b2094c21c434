/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bars, lines and the closing table of the demonstration.
 *
 * Called by demo.c. On a terminal a run takes LINES lines, which are drawn
 * over; elsewhere (a log) it takes a line a second.
 */
#include "cli/bars.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/units.h"

#define LINES 4
#define BAR_CELLS 48
#define MIB 1048576.0

enum colour { PLAIN, RED, GREEN, YELLOW, BLUE, BOLD };

static struct {
	const char *title;
	bool terminal, colours, drawn;
	uint64_t line_ns; /* when the next line is due */
} screen;

static const char *
paint(enum colour colour)
{
	static const char *const codes[] = { "\033[0m",  "\033[31m", "\033[32m",
					     "\033[33m", "\033[34m", "\033[1m" };

	return screen.colours ? codes[colour] : "";
}

void
bars_begin(const char *title)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	memset(&screen, 0, sizeof screen);
	screen.title = title;
	screen.terminal = isatty(1) && term && strcmp(term, "dumb") != 0;
	screen.colours = screen.terminal && (!no_color || !*no_color);
	printf("\n%s%s%s\n", paint(BOLD), title, paint(PLAIN));
	fflush(stdout);
}

static unsigned
cells_of(uint64_t bytes, uint64_t limit)
{
	double cells = (double)bytes / (double)limit * BAR_CELLS + 0.5;

	return cells > BAR_CELLS ? BAR_CELLS : (unsigned)cells;
}

static void
print_cells(unsigned *left, unsigned cells, char cell, enum colour colour)
{
	if (cells > *left)
		cells = *left;
	*left -= cells;
	fputs(paint(colour), stdout);
	while (cells--)
		putchar(cell);
	fputs(paint(PLAIN), stdout);
}

/* |####====+....| against the limit. */
static void
print_bar(const struct bars_now *now)
{
	uint64_t known = now->cache_bytes + now->neighbour_bytes;
	uint64_t other = now->usage_bytes > known ? now->usage_bytes - known :
						    0;
	unsigned left = BAR_CELLS;

	putchar('|');
	print_cells(&left, cells_of(now->cache_bytes, now->limit_bytes), '#',
		    GREEN);
	print_cells(&left, cells_of(now->neighbour_bytes, now->limit_bytes),
		    '=', BLUE);
	print_cells(&left, cells_of(other, now->limit_bytes), '+', YELLOW);
	print_cells(&left, left, '.', PLAIN);
	putchar('|');
}

static void
draw_lines(const struct bars_now *now)
{
	if (screen.drawn)
		printf("\033[%dA", LINES);
	screen.drawn = true;
	printf("\033[K  ");
	print_bar(now);
	printf(" %5.1f s\n", (double)now->ns / 1e9);
	printf("\033[K  used        %7.1f of %.1f MiB   (%s#%s cache, "
	       "%s=%s neighbour, %s+%s free or overhead)\n",
	       (double)now->usage_bytes / MIB, (double)now->limit_bytes / MIB,
	       paint(GREEN), paint(PLAIN), paint(BLUE), paint(PLAIN),
	       paint(YELLOW), paint(PLAIN));
	printf("\033[K  given back  %7.1f MiB\n",
	       (double)now->given_bytes / MIB);
	printf("\033[K  hit rate    %7.1f %%\n", now->hits_thousandths / 10.0);
}

void
bars_draw(const struct bars_now *now)
{
	if (screen.terminal) {
		draw_lines(now);
	} else if (now->ns >= screen.line_ns) {
		screen.line_ns += CLOCK_S;
		printf("  %3.0f s  used %6.1f of %.0f MiB  cache %6.1f  "
		       "neighbour %6.1f  given back %7.1f MiB  hits %4.1f %%\n",
		       (double)now->ns / 1e9, (double)now->usage_bytes / MIB,
		       (double)now->limit_bytes / MIB,
		       (double)now->cache_bytes / MIB,
		       (double)now->neighbour_bytes / MIB,
		       (double)now->given_bytes / MIB,
		       now->hits_thousandths / 10.0);
	}
	fflush(stdout);
}

void
bars_end(const struct bars_result *r)
{
	printf("  => %s%s%s\n", paint(r->survived ? GREEN : RED), r->ended,
	       paint(PLAIN));
	fflush(stdout);
}

/* ---- the table ---- */

#define CELL_BYTES 40

static void
row(const char *name, const char *without, const char *with)
{
	printf("  %-28s %-22s %-22s\n", name, without, with);
}

static const char *
bytes_cell(char cell[CELL_BYTES], uint64_t bytes)
{
	if (bytes == UINT64_MAX)
		snprintf(cell, CELL_BYTES, "-");
	else
		snprintf(cell, CELL_BYTES, "%.1f MiB", (double)bytes / MIB);
	return cell;
}

static void
bytes_row(const char *name, uint64_t without, uint64_t with)
{
	char a[CELL_BYTES], b[CELL_BYTES];

	row(name, bytes_cell(a, without), bytes_cell(b, with));
}

static void
number_row(const char *name, uint64_t without, uint64_t with)
{
	char a[CELL_BYTES], b[CELL_BYTES];

	snprintf(a, sizeof a, "%" PRIu64, without);
	snprintf(b, sizeof b, "%" PRIu64, with);
	row(name, a, b);
}

static void
rate_row(const char *name, unsigned without, unsigned with)
{
	char a[CELL_BYTES], b[CELL_BYTES];

	snprintf(a, sizeof a, "%.1f %%", without / 10.0);
	snprintf(b, sizeof b, "%.1f %%", with / 10.0);
	row(name, a, b);
}

static void
ended_row(const struct bars_result *a, const struct bars_result *b)
{
	/* Colours have no width, so the cells are padded apart. */
	printf("  %-28s %s%-22s%s %s%-22s%s\n", "the program",
	       paint(a->survived ? GREEN : RED), a->ended, paint(PLAIN),
	       paint(b->survived ? GREEN : RED), b->ended, paint(PLAIN));
}

void
bars_table(const struct bars_result *a, const struct bars_result *b)
{
	char x[UNITS_BYTES], y[UNITS_BYTES];

	printf("\n%s  %-28s %-22s %-22s%s\n", paint(BOLD), "",
	       "without spillway", "with spillway", paint(PLAIN));
	ended_row(a, b);
	number_row("lookups", a->lookups, b->lookups);
	number_row("hits", a->hits, b->hits);
	rate_row("hit rate", a->hits_thousandths, b->hits_thousandths);
	rate_row("hit rate, last second", a->hits_last_thousandths,
		 b->hits_last_thousandths);
	bytes_row("peak usage", a->peak_bytes, b->peak_bytes);
	bytes_row("cache at the end", a->survived ? a->cache_bytes : 0,
		  b->survived ? b->cache_bytes : 0);
	bytes_row("smallest cache once shrunk", a->cache_bytes_min,
		  b->cache_bytes_min);
	bytes_row("neighbour got", a->neighbour_bytes, b->neighbour_bytes);
	bytes_row("freed by the shrinker", a->given_bytes, b->given_bytes);
	bytes_row("given back to the system", a->returned_bytes,
		  b->returned_bytes);
	row("longest stall of a lookup", units_format_ns(x, a->stall_ns_max),
	    units_format_ns(y, b->stall_ns_max));
	fflush(stdout);
}
