/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge to Node: what its three files say to each other.
 *
 * Usage: node.c asks (bridge's thread), node_loop.c sees event loops go by and
 * calls node_isolate_pass(), node_isolate.c calls V8 (threads of JavaScript).
 *
 * Caveats: node_isolate_find() once, before anything else here.
 */
#ifndef GC_BRIDGE_NODE_H
#define GC_BRIDGE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What an event loop that goes by has to do. */
enum { NODE_NOTHING, NODE_ARM, NODE_MODERATE, NODE_CRITICAL };
extern _Atomic int node_watch;

/* Set where event loops are seen: in libspillway-malloc.so. */
extern bool node_loops_seen;

/* Looks up what is needed of V8, Node and libuv: 0, -ENOENT, or -EOPNOTSUPP
 * with the reason. */
int node_isolate_find(const char **why);

/* On a thread that is about to sleep for events of epoll_fd. */
void node_isolate_pass(int epoll_fd);

/*
 * While there is a request, on a thread that maps memory: where that is
 * JavaScript that was never met, in its event loop or here, it is interrupted.
 * Safe inside V8, with locks of its heap held.
 */
void node_isolate_grows(void);

/* A request: each isolate answers it once. */
void node_isolate_ask(int what);
void node_isolate_end(void);

/* Has those that did not answer stop their JavaScript for it. */
void node_isolate_interrupt(void);

/* Isolates that answered this request, and those that did not yet. */
void node_isolate_count(unsigned *answered, unsigned *silent);

/* Bytes that went while they did; waits until one more answers. */
uint64_t node_isolate_went(void);
void node_isolate_await(uint64_t timeout_ns);

/* Whether one lives on that thread. */
bool node_isolate_on(pid_t tid);

#endif
