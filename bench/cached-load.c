/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A load for servers that speak memcached's text protocol: connections, each
 * with a batch of commands under way, and the next when all are answered.
 *
 * Run by bench/cached, which starts the servers. Keys are ranks: key k is asked
 * for with a probability of about 1/k (--uniform: all alike). Each value says
 * whose it is, and what comes back is checked: the server, not the checking,
 * shall be the work, so only the beginning of it. With --aside a miss is
 * stored in the next batch, as a program with a database behind it does.
 *
 * Latency is that of a batch. rss_peak is this program's own.
 */
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEY_BYTES 16
#define MARK_BYTES 16
#define INPUT_BYTES ((size_t)256 << 10)
#define EVENTS 64
#define FILL_DEPTH 64

static uint64_t port = 11211, connections = 16, depth = 16, threads = 1;
static uint64_t keys = 100000, first_key, value_bytes = 100, sets_percent = 10;
static uint64_t seconds = 3, every_ms;
static bool fill, aside, uniform, only_fill, meta;

static const struct bench_option options[] = {
	{ "port", "N", "where the server is, at 127.0.0.1", &port, NULL, NULL },
	{ "connections", "N", "of all threads", &connections, NULL, NULL },
	{ "threads", "N", "of this program", &threads, NULL, NULL },
	{ "depth", "N", "commands in a batch", &depth, NULL, NULL },
	{ "keys", "N", "that there are", &keys, NULL, NULL },
	{ "first", "N", "number of the first key", &first_key, NULL, NULL },
	{ "value", "BYTES", "of each", &value_bytes, NULL, NULL },
	{ "sets", "PERCENT", "of the commands", &sets_percent, NULL, NULL },
	{ "seconds", "N", "to run", &seconds, NULL, NULL },
	{ "every", "MS", "a row for each such time", &every_ms, NULL, NULL },
	{ "fill", NULL, "store all keys before", NULL, NULL, &fill },
	{ "only-fill", NULL, "and nothing else", NULL, NULL, &only_fill },
	{ "aside", NULL, "store what was missed", NULL, NULL, &aside },
	{ "meta", NULL, "mg and ms instead of get and set", NULL, NULL, &meta },
	{ "uniform", NULL, "all keys alike", NULL, NULL, &uniform },
	{ NULL, NULL, NULL, NULL, NULL, NULL },
};

static const struct bench_program program = {
	"cached-load",
	"a load for a memcached or spillway-cached that runs",
	options,
	NULL,
};

struct operation {
	uint64_t key;
	bool set;
};

/* One connection, and the batch that is under way. */
struct link {
	int socket;
	unsigned many, answered;
	struct operation *operations;
	uint64_t *missed; /* to be stored next */
	unsigned misses;
	char *output, *input;
	size_t output_at, output_end, input_at, input_end;
	size_t skip; /* bytes of a value that are still to come */
	bool hit;
	uint64_t began_ns;
};

struct counts {
	_Atomic uint64_t commands, gets, hits, refused, wrong;
};

struct client {
	pthread_t thread;
	unsigned number, links_count;
	struct link *links;
	int epoll;
	uint64_t seed;
	struct counts counts;
	struct bench_histogram batches;
};

static _Atomic uint64_t filled; /* the next key to be filled in */
static uint64_t deadline_ns;
static bool filling;
static char *filler;

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(
		counter,
		atomic_load_explicit(counter, memory_order_relaxed) + n,
		memory_order_relaxed);
}

/* 16 digits, or hexadecimal digits where they are a value's mark. */
static void
write_digits(char *to, uint64_t n, unsigned base)
{
	for (int i = KEY_BYTES; i-- > 0; n /= base)
		to[i] = "0123456789abcdef"[n % base];
}

static uint64_t
pick_key(struct client *client)
{
	double u;

	if (uniform)
		return bench_random_below(&client->seed, keys);
	u = (double)(bench_random(&client->seed) >> 11) * 0x1p-53;
	return (uint64_t)(exp(u * log((double)keys + 1)) - 1) % keys;
}

/* False: all is filled in. */
static bool
pick(struct client *client, struct link *link, struct operation *operation)
{
	if (filling) {
		operation->set = true;
		operation->key = atomic_fetch_add(&filled, 1);
		return operation->key < keys;
	}
	if (link->misses) {
		operation->set = true;
		operation->key = link->missed[--link->misses];
		return true;
	}
	operation->key = pick_key(client);
	operation->set = bench_random_below(&client->seed, 100) < sets_percent;
	return true;
}

static char *
write_command(char *to, const struct operation *operation)
{
	const char *verb = meta ? (operation->set ? "ms " : "mg ") :
				  (operation->set ? "set " : "get ");

	to = stpcpy(to, verb);
	write_digits(to, first_key + operation->key, 10);
	to += KEY_BYTES;
	if (!operation->set && meta)
		to = stpcpy(to, " v");
	if (operation->set) {
		to += sprintf(to, meta ? " %llu\r\n" : " 0 0 %llu\r\n",
			      (unsigned long long)value_bytes);
		memcpy(to, filler, value_bytes);
		if (value_bytes >= MARK_BYTES)
			write_digits(to, operation->key, 16);
		to += value_bytes;
	}
	memcpy(to, "\r\n", 2);
	return to + 2;
}

/* Writes as much of the batch as the socket takes. */
static void
send_some(struct link *link)
{
	while (link->output_at < link->output_end) {
		ssize_t sent = send(link->socket,
				    link->output + link->output_at,
				    link->output_end - link->output_at,
				    MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent <= 0)
			bench_die("the server has hung up");
		link->output_at += (size_t)sent;
	}
}

static void
watch(struct client *client, struct link *link, int how)
{
	struct epoll_event event = {
		.events = EPOLLIN | (link->output_at < link->output_end ?
					     (uint32_t)EPOLLOUT :
					     0),
		.data.ptr = link,
	};

	if (epoll_ctl(client->epoll, how, link->socket, &event) != 0)
		bench_die("epoll_ctl");
}

/* A new batch; false: it is time to end. */
static bool
begin(struct client *client, struct link *link)
{
	unsigned most = filling ? FILL_DEPTH : (unsigned)depth;
	char *to = link->output;

	link->many = link->answered = 0;
	if (!filling && bench_now_ns() >= deadline_ns)
		return false;
	while (link->many < most &&
	       pick(client, link, &link->operations[link->many]))
		to = write_command(to, &link->operations[link->many++]);
	if (!link->many)
		return false;
	link->output_at = 0;
	link->output_end = (size_t)(to - link->output);
	link->began_ns = bench_now_ns();
	send_some(link);
	return true;
}

static void
answered(struct client *client, struct link *link, bool good)
{
	const struct operation *operation = &link->operations[link->answered++];

	if (operation->set) {
		if (!good)
			count(&client->counts.refused, 1);
		return;
	}
	count(&client->counts.gets, 1);
	if (good)
		count(&client->counts.hits, 1);
	else if (aside && link->misses < depth)
		link->missed[link->misses++] = operation->key;
}

/* Whether the value that begins here is the one that was asked for. */
static bool
is_right(const struct link *link, const char *value)
{
	char mark[MARK_BYTES];

	write_digits(mark, link->operations[link->answered].key, 16);
	return value_bytes < MARK_BYTES || memcmp(mark, value, MARK_BYTES) == 0;
}

/* One line, or a part of a value; false: more must come first. */
static bool
parse_one(struct client *client, struct link *link)
{
	const char *at = link->input + link->input_at, *newline;
	size_t there = link->input_end - link->input_at, line;

	if (link->skip) {
		size_t take = there < link->skip ? there : link->skip;

		link->input_at += take;
		link->skip -= take;
		return take;
	}
	newline = there ? memchr(at, '\n', there) : NULL;
	if (!newline)
		return false;
	line = (size_t)(newline + 1 - at);
	if (*at == 'V') {
		if (there < line + MARK_BYTES && there < line + value_bytes)
			return false;
		link->hit = true;
		if (!is_right(link, newline + 1))
			count(&client->counts.wrong, 1);
		link->skip = value_bytes + 2;
		if (meta) { /* no END will come */
			answered(client, link, true);
			link->hit = false;
		}
	} else if (link->operations[link->answered].set) {
		answered(client, link,
			 strncmp(at, meta ? "HD" : "STORED", 2) == 0);
	} else {
		answered(client, link, link->hit);
		link->hit = false;
	}
	link->input_at += line;
	return true;
}

static void
receive(struct client *client, struct link *link)
{
	ssize_t got;

	if (link->input_at == link->input_end)
		link->input_at = link->input_end = 0;
	memmove(link->input, link->input + link->input_at,
		link->input_end - link->input_at);
	link->input_end -= link->input_at;
	link->input_at = 0;
	got = recv(link->socket, link->input + link->input_end,
		   INPUT_BYTES - link->input_end, 0);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
		bench_die("the server has hung up");
	link->input_end += (size_t)got;
	while ((link->skip || link->answered < link->many) &&
	       parse_one(client, link))
		;
}

/* Its socket is ready; false: it has ended. */
static bool
serve(struct client *client, struct link *link)
{
	bool waited = link->output_at < link->output_end;

	if (waited)
		send_some(link);
	receive(client, link);
	if (link->answered == link->many && !link->skip) {
		count(&client->counts.commands, link->many);
		if (!filling)
			bench_histogram_add(&client->batches,
					    bench_now_ns() - link->began_ns);
		if (!begin(client, link))
			return false;
	}
	if (waited || link->output_at < link->output_end)
		watch(client, link, EPOLL_CTL_MOD);
	return true;
}

static void *
run_client(void *argument)
{
	struct client *client = argument;
	struct epoll_event events[EVENTS];
	unsigned alive = 0;

	for (unsigned i = 0; i < client->links_count; i++)
		if (begin(client, &client->links[i])) {
			watch(client, &client->links[i], EPOLL_CTL_ADD);
			alive++;
		}
	while (alive) {
		int n = epoll_wait(client->epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct link *link = events[i].data.ptr;

			if (serve(client, link))
				continue;
			epoll_ctl(client->epoll, EPOLL_CTL_DEL, link->socket,
				  NULL);
			alive--;
		}
	}
	return NULL;
}

static void
open_link(struct link *link)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	size_t most = depth > FILL_DEPTH ? depth : FILL_DEPTH;
	int on = 1;

	link->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link->socket < 0 ||
	    connect(link->socket, (struct sockaddr *)&address,
		    sizeof address) != 0)
		bench_die("cannot connect to 127.0.0.1, port %llu",
			  (unsigned long long)port);
	setsockopt(link->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	fcntl(link->socket, F_SETFL, O_NONBLOCK);
	link->operations = bench_malloc(most * sizeof *link->operations);
	link->missed = bench_malloc(most * sizeof *link->missed);
	link->output = bench_malloc(most * (value_bytes + 64));
	link->input = bench_malloc(INPUT_BYTES);
}

static void
print_interval(const struct client *clients, struct counts *before,
	       double time_s, double interval_s)
{
	uint64_t now[3] = { 0 };
	char params[32];

	for (unsigned i = 0; i < threads; i++) {
		now[0] += clients[i].counts.commands;
		now[1] += clients[i].counts.gets;
		now[2] += clients[i].counts.hits;
	}
	(void)!snprintf(params, sizeof params, "t=%.2f", time_s);
	bench_row("interval-commands", params,
		  (double)(now[0] - before->commands) / interval_s, "1/s", -1,
		  -1);
	if (now[1] > before->gets)
		bench_row("interval-hit-rate", params,
			  (double)(now[2] - before->hits) /
				  (double)(now[1] - before->gets),
			  "1", -1, -1);
	before->commands = now[0];
	before->gets = now[1];
	before->hits = now[2];
	fflush(stdout);
}

static void
run_all(struct client *clients)
{
	uint64_t start_ns = bench_now_ns(), next_ns = start_ns;
	struct counts before = { 0 };

	deadline_ns = start_ns + seconds * 1000000000u;
	if (bench_smoke)
		deadline_ns = start_ns + 10000000u;
	for (unsigned i = 0; i < threads; i++)
		if (pthread_create(&clients[i].thread, NULL, run_client,
				   &clients[i]) != 0)
			bench_die("pthread_create");
	while (every_ms && !filling && next_ns < deadline_ns) {
		uint64_t now_ns;

		next_ns += every_ms * 1000000u;
		now_ns = bench_now_ns();
		if (next_ns > now_ns)
			bench_sleep_ns(next_ns - now_ns);
		print_interval(clients, &before,
			       (double)(bench_now_ns() - start_ns) / 1e9,
			       (double)every_ms / 1e3);
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(clients[i].thread, NULL);
}

static void
print_sum(const struct client *clients, double elapsed_s)
{
	static struct bench_histogram batches;
	uint64_t commands = 0, gets = 0, hits = 0, refused = 0, wrong = 0;
	char params[96];

	for (unsigned i = 0; i < threads; i++) {
		commands += clients[i].counts.commands;
		gets += clients[i].counts.gets;
		hits += clients[i].counts.hits;
		refused += clients[i].counts.refused;
		wrong += clients[i].counts.wrong;
		batches.count += clients[i].batches.count;
		if (clients[i].batches.max > batches.max)
			batches.max = clients[i].batches.max;
		for (size_t j = 0; j < BENCH_HISTOGRAM_SLOTS; j++)
			batches.slots[j] += clients[i].batches.slots[j];
	}
	(void)!snprintf(params, sizeof params,
			"connections=%llu depth=%llu value=%llu sets=%llu%s",
			(unsigned long long)connections,
			(unsigned long long)depth,
			(unsigned long long)value_bytes,
			(unsigned long long)sets_percent, meta ? " meta" : "");
	bench_row("commands", params, (double)commands / elapsed_s, "1/s", -1,
		  -1);
	bench_row("batch", params,
		  (double)bench_histogram_at(&batches, 0.5) / 1e3, "us",
		  (double)bench_histogram_at(&batches, 0.5) / 1e3,
		  (double)bench_histogram_at(&batches, 0.99) / 1e3);
	if (gets)
		bench_row("hit-rate", params, (double)hits / (double)gets, "1",
			  -1, -1);
	bench_row("refused", params, (double)refused, "1", -1, -1);
	bench_row("count", params, (double)commands, "1", -1, -1);
	if (wrong)
		bench_die("%llu wrong values", (unsigned long long)wrong);
}

static struct client *
open_clients(void)
{
	struct client *clients = calloc(threads, sizeof *clients);
	unsigned each = (unsigned)((connections + threads - 1) / threads);

	if (!clients)
		bench_die("no memory");
	for (unsigned i = 0; i < threads; i++) {
		clients[i].seed = i + 1;
		clients[i].links_count = each;
		clients[i].links = calloc(each, sizeof *clients[i].links);
		clients[i].epoll = epoll_create1(EPOLL_CLOEXEC);
		if (!clients[i].links || clients[i].epoll < 0)
			bench_die("no memory");
		for (unsigned j = 0; j < each; j++)
			open_link(&clients[i].links[j]);
	}
	return clients;
}

int
main(int argc, char **argv)
{
	struct client *clients;
	uint64_t began_ns;

	bench_start(&program, argc, argv);
	if (!threads || !connections || !depth || !keys)
		bench_die("threads, connections, depth and keys are not 0");
	if (bench_smoke)
		keys = keys < 1000 ? keys : 1000;
	filler = bench_malloc(value_bytes + 1);
	memset(filler, 'x', value_bytes);
	clients = open_clients();
	if (fill || only_fill) {
		filling = true;
		run_all(clients);
		filling = false;
		for (unsigned i = 0; i < threads; i++)
			memset(&clients[i].counts, 0, sizeof clients[i].counts);
	}
	began_ns = bench_now_ns();
	if (!only_fill) {
		run_all(clients);
		print_sum(clients, (double)(bench_now_ns() - began_ns) / 1e9);
	}
	return 0;
}
