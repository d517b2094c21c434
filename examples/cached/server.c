/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The main thread accepts, the workers serve.
 *
 * Called by main.c; calls the listeners and connections. Each worker has an
 * epoll set of its own and a desk that it lends to one connection at a time.
 * A new connection goes to the next worker in turn and stays there, so that
 * nothing of it is shared. `connections` (by socket) is written by the main
 * thread before the worker knows the socket and by the worker before it is
 * closed; it is read when all workers have ended.
 */
#include "examples/cached/server.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "examples/cached/connection.h"
#include "examples/cached/listener.h"
#include "examples/cached/settings.h"

#define EVENTS 64
/* Descriptors beside connections: listeners, workers, spillway's own. */
#define SPARE_DESCRIPTORS 512

struct worker {
	pthread_t thread;
	int epoll;
	struct desk desk;
};

static struct worker **workers;
static unsigned workers_started;
static struct connection **connections;
static size_t descriptors_max;

static int listeners[LISTENERS_MAX];
static unsigned listeners_open;
static bool accepts;
static int stop = -1, signals = -1, ticks = -1, main_epoll = -1;
static struct counters accepted;

static bool
complain(const char *what)
{
	fprintf(stderr, "spillway-cached: cannot %s: %s\n", what,
		strerror(errno));
	return false;
}

/* Atomic for form's sake: accept(2) comes after the close(2) that freed the
 * number. */
static void
remember(int socket, struct connection *connection)
{
	__atomic_store_n(&connections[socket], connection, __ATOMIC_RELAXED);
}

/* --- workers */

static void
drop(struct worker *worker, struct connection *connection)
{
	if (settings_verbose())
		fprintf(stderr, "<%d connection closed\n",
			connection_socket(connection));
	remember(connection_socket(connection), NULL);
	counters_up(&worker->desk.counters.closed_connections);
	connection_close(connection);
}

static void
serve(struct worker *worker, struct connection *connection)
{
	enum connection_wish before = connection_wish(connection);
	enum connection_wish wish = connection_serve(connection, &worker->desk);
	struct epoll_event event = { .data.ptr = connection };

	if (wish == CONNECTION_END) {
		drop(worker, connection);
		return;
	}
	if (wish == before)
		return;
	event.events = wish == CONNECTION_WRITE ? EPOLLOUT : EPOLLIN;
	if (epoll_ctl(worker->epoll, EPOLL_CTL_MOD,
		      connection_socket(connection), &event) != 0)
		drop(worker, connection);
}

static void *
work(void *argument)
{
	struct worker *worker = argument;
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(worker->epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (!events[i].data.ptr)
				return NULL;
			serve(worker, events[i].data.ptr);
		}
	}
}

static bool
start_worker(struct worker **started)
{
	struct worker *worker = calloc(1, sizeof *worker);
	struct epoll_event event = { .events = EPOLLIN };
	int error;

	if (!worker)
		return complain("start a thread");
	worker->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (worker->epoll < 0 ||
	    epoll_ctl(worker->epoll, EPOLL_CTL_ADD, stop, &event) != 0) {
		complain("make an epoll descriptor");
		goto fail;
	}
	error = pthread_create(&worker->thread, NULL, work, worker);
	if (error) {
		errno = error;
		complain("start a thread");
		goto fail;
	}
	counters_register(&worker->desk.counters);
	*started = worker;
	return true;
fail:
	if (worker->epoll >= 0)
		close(worker->epoll);
	free(worker);
	return false;
}

/* --- the main thread */

static void
refuse(int socket)
{
	static const char text[] = "ERROR Too many open connections\r\n";

	counters_up(&accepted.rejected_connections);
	(void)!send(socket, text, sizeof text - 1, MSG_NOSIGNAL);
	close(socket);
}

static void
hand_over(int socket)
{
	static unsigned turn;
	struct worker *worker = workers[turn++ % settings.threads];
	struct epoll_event event = { .events = EPOLLIN };
	struct connection *connection;

	if (counters_connections() >= settings.connections_max ||
	    (size_t)socket >= descriptors_max) {
		refuse(socket);
		return;
	}
	connection = connection_open(socket);
	if (!connection) {
		refuse(socket);
		return;
	}
	remember(socket, connection);
	event.data.ptr = connection;
	counters_up(&accepted.total_connections);
	if (settings_verbose())
		fprintf(stderr, "<%d new connection\n", socket);
	if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, socket, &event) != 0) {
		remember(socket, NULL);
		counters_up(&accepted.closed_connections);
		connection_close(connection);
	}
}

static void
set_accepting(bool on)
{
	for (unsigned i = 0; i < listeners_open && on != accepts; i++) {
		struct epoll_event event = { .events = EPOLLIN,
					     .data.fd = listeners[i] };

		(void)epoll_ctl(main_epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL,
				listeners[i], &event);
	}
	accepts = on;
}

static void
accept_all(int listener)
{
	int socket;

	while ((socket = listener_accept(listener)) >= 0)
		hand_over(socket);
	if (errno == EAGAIN)
		return;
	/* No descriptor, no memory: again at the next tick. */
	if (settings_verbose())
		complain("accept a connection");
	set_accepting(false);
}

static void
tick(void)
{
	uint64_t times;

	(void)!read(ticks, &times, sizeof times);
	store_tick();
	set_accepting(true);
}

void
server_run(void)
{
	struct epoll_event events[EVENTS];

	for (;;) {
		int n = epoll_wait(main_epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int ready = events[i].data.fd;

			if (ready == signals)
				return;
			if (ready == ticks)
				tick();
			else
				accept_all(ready);
		}
	}
}

/* As many descriptors as connections need; a warning where they are not to be
 * had. */
static void
raise_descriptors(void)
{
	struct rlimit limit;
	rlim_t wanted = settings.connections_max + SPARE_DESCRIPTORS;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < wanted) {
		struct rlimit raised = limit;

		raised.rlim_cur = wanted;
		if (raised.rlim_max < wanted)
			raised.rlim_max = wanted;
		if (setrlimit(RLIMIT_NOFILE, &raised) != 0) {
			raised.rlim_cur = raised.rlim_max = limit.rlim_max;
			(void)setrlimit(RLIMIT_NOFILE, &raised);
			fprintf(stderr,
				"spillway-cached: only %llu descriptors for "
				"%u connections (ulimit -n)\n",
				(unsigned long long)limit.rlim_max,
				settings.connections_max);
		}
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	descriptors_max = limit.rlim_cur < 2 * wanted ? limit.rlim_cur :
							2 * wanted;
}

static bool
watch(int descriptor)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = descriptor };

	return descriptor >= 0 &&
	       epoll_ctl(main_epoll, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

static bool
open_descriptors(void)
{
	struct itimerspec second = { { 1, 0 }, { 1, 0 } };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	main_epoll = epoll_create1(EPOLL_CLOEXEC);
	stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	ticks = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (main_epoll < 0 || stop < 0 || !watch(signals) || !watch(ticks) ||
	    timerfd_settime(ticks, 0, &second, NULL) != 0)
		return complain("make descriptors");
	return true;
}

bool
server_open(void)
{
	raise_descriptors();
	connections = calloc(descriptors_max, sizeof(struct connection *));
	workers = calloc(settings.threads, sizeof(struct worker *));
	counters_register(&accepted);
	if (!connections || !workers)
		complain("start");
	else if (open_descriptors())
		listeners_open = listener_open_all(listeners);
	while (listeners_open && workers_started < settings.threads &&
	       start_worker(&workers[workers_started]))
		workers_started++;
	if (workers_started < settings.threads) {
		server_close();
		return false;
	}
	set_accepting(true);
	return true;
}

void
server_close(void)
{
	static const uint64_t one = 1;
	int descriptors[] = { main_epoll, stop, signals, ticks };

	listener_close_all(listeners, listeners_open);
	if (stop >= 0)
		(void)!write(stop, &one, sizeof one);
	for (unsigned i = 0; i < workers_started; i++) {
		pthread_join(workers[i]->thread, NULL);
		close(workers[i]->epoll);
	}
	for (size_t i = 0; connections && i < descriptors_max; i++)
		if (connections[i])
			connection_close(connections[i]);
	for (unsigned i = 0; i < workers_started; i++)
		free(workers[i]);
	for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++)
		if (descriptors[i] >= 0)
			close(descriptors[i]);
	free(connections);
	free(workers);
}
