#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Go's collector, registered by the package in examples/go."""

import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import gcs  # noqa: E402
import harness  # noqa: E402
from gcs import Runtime  # noqa: E402
from harness import Tap, which  # noqa: E402

PACKAGE = os.path.abspath(os.path.join(harness.SOURCE, "..", "..", "examples",
                                       "go"))

# With 64 MiB live, and garbage made at 2.6 GB/s. Alone it is killed in 8 of 8
# runs, and lives in 12 of 12; at 120, where a collection has 25 MiB of room, in
# 38 of 40.
LIMIT_MIB = 140

PROGRAM = """
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	spillway "spillway.example/go"
)

type node struct {
	next *node
	data []byte
}

// MiB made; one of sixteen objects is kept.
func fill(mib int) (live *node) {
	var dropped *node
	for i := 0; i < mib*64; i++ {
		n := &node{data: make([]byte, 16<<10)}
		for at := 0; at < len(n.data); at += 4096 {
			n.data[at] = byte(i)
		}
		if i%16 == 0 {
			n.next, live = live, n
		} else {
			n.next, dropped = dropped, n
		}
	}
	return live
}

func burst(path string) {
	live := fill(600)
	fmt.Println("ready")
	for {
		if _, err := os.Stat(path); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	sum := 0
	for ; live != nil; live = live.next {
		sum = sum*31%1000003 + int(live.data[0]) + len(live.data)
	}
	fmt.Println(sum)
	os.Exit(3)
}

// MIB made by three goroutines, that keep 64 MiB.
func churn(mib int) {
	var wait sync.WaitGroup
	var sums [3]uint64
	for g := range sums {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			kept := make([][]byte, 1300)
			sum := uint64(g)
			for i, made := 0, 0; made < mib<<20/3; i++ {
				b := make([]byte, 1024+i%4099*7919%31744)
				for at := 0; at < len(b); at += 512 {
					b[at] = byte(i)
				}
				made += len(b)
				old := &kept[i*2654435761%len(kept)]
				if *old != nil {
					sum = sum*31 + uint64(len(*old)) + uint64((*old)[0])
				}
				*old = b
			}
			sums[g] = sum
		}(g)
	}
	wait.Wait()
	fmt.Println(sums)
	os.Exit(3)
}

func main() {
	if os.Getenv("ALONE") == "" {
		if err := spillway.Attach(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	switch os.Args[1] {
	case "burst":
		burst(os.Args[2])
	case "churn":
		mib, _ := strconv.ParseFloat(os.Args[2], 64)
		churn(int(mib))
	default:
		fill(20)
		fmt.Println("short")
		os.Exit(4)
	}
}
"""


def build(go, folder):
    """The program, or None and why it is not built."""
    library = os.path.dirname(os.path.realpath(harness.library()))
    with open(folder + "/go.mod", "w", encoding="ascii") as file:
        file.write("module program\ngo 1.19\nrequire spillway.example/go v0.0.0"
                   f"\nreplace spillway.example/go => {PACKAGE}\n")
    with open(folder + "/main.go", "w", encoding="ascii") as file:
        file.write(PROGRAM)
    done = harness.run(
        [go, "build", "-o", "program", "."], cwd=folder, timeout=300,
        env=harness.environment(
            GOFLAGS="-mod=mod", GOPROXY="off", GOCACHE=folder + "/cache",
            GOPATH=folder + "/path", CGO_ENABLED="1",
            CGO_CFLAGS=f"-O2 -I{PACKAGE}/../../include",
            CGO_LDFLAGS=f"-L{library} -Wl,-rpath,{library}"))
    return (folder + "/program", None) if done.returncode == 0 else (
        None, done.stderr[-900:])


def survives(tap, command):
    """In a group in which it is killed where it does not call Attach."""
    free = harness.run(command, env=harness.environment(ALONE="1"))
    got = {}
    try:
        for name, more in (("alone", {"ALONE": "1"}), ("with it", {})):
            with harness.Group(LIMIT_MIB) as group:
                done = harness.run(command, group, timeout=120,
                                   env=harness.environment(**more))
                got[name] = (done.returncode, done.stdout, group.kills())
    except OSError as error:
        tap.skip(f"go: survives {LIMIT_MIB} MiB", str(error))
        return
    tap.ok(got["alone"][2] > 0, f"go: alone it is killed at {LIMIT_MIB} MiB",
           got)
    tap.ok(got["with it"] == (free.returncode, free.stdout, 0),
           f"go: it survives {LIMIT_MIB} MiB, output the same", got, free)


def main():
    tap = Tap()
    go = which("go")
    if not go or not which("cc"):
        tap.skip_all("no go, or no cc")
    harness.need(tap, library=harness.library(), spillway=harness.cli())
    with tempfile.TemporaryDirectory() as folder:
        program, why = build(go, folder)
        if not tap.ok(program, "a program that calls Attach is built", why):
            tap.end()
        runtime = Runtime(tap, "go", [program, "burst"], [program, "churn"],
                          "gc:auto", preload=False)
        runtime.returns("go", 400, 75)
        runtime.stress("go, three goroutines", 3000 * gcs.SECONDS)
        runtime.hammer("go", [program, "short"])
        survives(tap, [program, "churn", "6000"])
    tap.end()


main()
