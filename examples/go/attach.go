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
import "C"

import (
	"errors"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// Less is no limit to live with.
const leastLimit = 16 << 20

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
		}
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

//export spillwayGoCollect
func spillwayGoCollect() C.uint64_t {
	before := held()
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
		limit = now + int64(headroom)/2
		if headroom == 0 {
			limit -= limit / 8
		}
		if limit < leastLimit {
			limit = leastLimit
		}
		if limit > most {
			limit = most
		}
	}
	debug.SetMemoryLimit(limit)
}
