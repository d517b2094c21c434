// SPDX-License-Identifier: BSD-2-Clause

// Package spillway has Go's collector asked when memory is short.
//
// Usage: call spillway.Attach() once, early in main().
//
// A Go program calls no malloc and no mmap of the C library's, so a preload
// does not reach it: it must say so itself, and be built with cgo. From then
// on
//   - what garbage there is goes back to the system when spillway asks
//     (debug.FreeOSMemory), and
//   - while memory is short the collector runs as often as it takes to stay
//     within what there is room for (debug.SetMemoryLimit, as GOMEMLIMIT would
//     but that it follows the headroom); plenty lifts the limit.
//
// Caveats: needs Go 1.19. A limit of the program's own, by GOMEMLIMIT or
// debug.SetMemoryLimit before Attach, stays the upper bound; one that is set
// later is overwritten. Collections run on a thread of spillway's, one at a
// time, while the program goes on.
package spillway

// #cgo LDFLAGS: -lspillway
// #include <stdint.h>
// const char *spillway_go_register(void);
// uint64_t spillway_go_headroom(void);
import "C"

import (
	"errors"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	leastLimit = 16 << 20 // less is no limit to live with
	someRoom   = 64 << 20 // an eighth of much, a third of little
)

var (
	once     sync.Once
	attached error
	most     int64 = math.MaxInt64 // the program's own limit
)

// Attach registers the collector, once; later calls answer the same. The error
// says why spillway does not ask: it is switched off, or has no room.
func Attach() error {
	once.Do(func() {
		most = debug.SetMemoryLimit(-1)
		if why := C.spillway_go_register(); why != nil {
			attached = errors.New("spillway: " + C.GoString(why))
			return
		}
		// spillway does so first when the headroom falls, which is too
		// late for who fills what there is in 50 ms.
		spillwayGoTune(C.spillway_go_headroom())
	})
	return attached
}

// What the runtime has of the system now: what SetMemoryLimit bounds.
func held() int64 {
	sample := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64() - sample[1].Value.Uint64())
}

// What is to stay free of so much room: Go goes past its limit while it
// collects, and others want to grow.
func reserve(room int64) int64 {
	if room/3 < someRoom {
		return room / 3
	}
	if room/8 > someRoom {
		return room / 8
	}
	return someRoom
}

func bound(limit int64) {
	if limit < leastLimit {
		limit = leastLimit
	}
	if limit > most {
		limit = most
	}
	debug.SetMemoryLimit(limit)
}

//export spillwayGoCollect
func spillwayGoCollect() C.uint64_t {
	before := held()
	// Who allocates meanwhile helps to mark instead of outrunning it.
	// spillwayGoTune comes behind.
	bound(before)
	debug.FreeOSMemory()
	if after := held(); after < before {
		return C.uint64_t(before - after)
	}
	return 0
}

//export spillwayGoTune
func spillwayGoTune(headroom C.uint64_t) {
	limit := most
	if now := held(); uint64(headroom) < uint64(math.MaxInt64-now) {
		room := now + int64(headroom)
		limit = room - reserve(room)
	}
	bound(limit)
}
