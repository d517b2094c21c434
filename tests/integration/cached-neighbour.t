#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""spillway-cached in a memory group whose half a neighbour takes.

The server is filled until the group is full, and goes on at its limit without
a kill. Then a neighbour grows at 2 GB/s to half of the group, while clients
read and write: nobody is killed, the server gives memory back, what is read
often stays, every value is right. When the neighbour has gone it grows again.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import cached  # noqa: E402
import harness  # noqa: E402
from cached import Client, Server  # noqa: E402
from harness import Group, Tap  # noqa: E402

LIMIT_MIB = 600
TAKEN_MIB = LIMIT_MIB // 2
VALUE_BYTES = 4000
HOT = 2000  # keys, 8 MB


def value_of(number):
    """Says whose it is, so that a wrong one is seen."""
    seed = hashlib.sha256(b"%d" % number).hexdigest().encode()
    return (seed * (VALUE_BYTES // len(seed) + 1))[:VALUE_BYTES]


def fill(client, numbers):
    """Pipelined; how many were refused."""
    refused = 0
    numbers = list(numbers)
    for at in range(0, len(numbers), 200):
        part = numbers[at:at + 200]
        client.socket.sendall(b"".join(
            b"set k%d 0 0 %d\r\n%s\r\n" % (n, VALUE_BYTES, value_of(n))
            for n in part))
        refused += sum(client.stream.readline() != b"STORED\r\n"
                       for _ in part)
    return refused


def read(client, numbers):
    """(hits, wrong ones)"""
    hits = wrong = 0
    numbers = list(numbers)
    for at in range(0, len(numbers), 100):
        part = numbers[at:at + 100]
        client.socket.sendall(b"".join(b"get k%d\r\n" % n for n in part))
        for number in part:
            if client.stream.readline() == b"END\r\n":
                continue
            hits += 1
            got = client.stream.read(VALUE_BYTES + 2)[:-2]
            wrong += got != value_of(number)
            client.stream.readline()
    return hits, wrong


class Load:
    """A client that reads hot keys and writes new ones until it is ended."""

    def __init__(self, server):
        self.server = server
        self.stopped = threading.Event()
        self.rounds = self.hits = self.wrong = self.refused = 0
        self.error = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            with Client(self.server) as client:
                number = 10_000_000
                while not self.stopped.is_set():
                    hits, wrong = read(client, range(HOT))
                    self.hits += hits
                    self.wrong += wrong
                    self.refused += fill(client, range(number, number + 500))
                    number += 500
                    self.rounds += 1
        except Exception as error:  # pylint: disable=broad-except
            self.error = repr(error)

    def end(self):
        self.stopped.set()
        self.thread.join()


@contextlib.contextmanager
def neighbour(group, mib):
    """Grows to so much and stays; gives whether it got there."""
    words = [harness.program("survivor"), "--neighbour", str(mib), "grow"]
    with subprocess.Popen(
            ["sh", "-c", 'exec "$0" "$@" 3>&1', *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=group.join, env=harness.environment()) as process:
        process.stdin.write(b"g")
        process.stdin.flush()
        grown = len(process.stdout.read(16)) == 16
        time.sleep(0.2)
        yield grown and process.poll() is None
        process.stdin.close()
        process.wait(20)


def press(tap, server, group):
    with Client(server) as client:
        refused = fill(client, range(HOT))
        for start in range(HOT, 220_000, 20_000):
            refused += fill(client, range(start, start + 20_000))
            read(client, range(HOT))
        full = server.rss_mib()
        hits, wrong = read(client, range(HOT))
        tap.note(f"  full: RSS {full:.0f} MiB of {LIMIT_MIB}, "
                 f"{client.stats()['curr_items']} items")
        tap.ok(group.kills() == 0 and server.alive() and not refused,
               "filled beyond the limit of its group: alive, none refused",
               f"refused {refused}", server.tail())
        tap.ok(full > LIMIT_MIB * 0.7, "it takes what there is",
               f"RSS {full:.0f} MiB")
        tap.ok(hits > HOT * 0.98 and not wrong, "what is read often stays",
               f"{hits} of {HOT}, wrong {wrong}")
        load = Load(server)
        time.sleep(0.5)
        with neighbour(group, TAKEN_MIB) as grown:
            time.sleep(1.5)
            pressed = server.rss_mib()
            load.end()
            alive = server.alive()
        stats = client.stats()
        tap.note(f"  pressed: RSS {pressed:.0f} MiB, {load.rounds} rounds, "
                 f"longest wait of a put "
                 f"{int(stats['spillway_wait_ns_max']) / 1e6:.1f} ms")
        tap.ok(grown and alive and group.kills() == 0,
               "a neighbour takes half of it: nobody is killed",
               f"neighbour {grown}, server {alive}, kills {group.kills()}",
               server.tail())
        tap.ok(pressed < LIMIT_MIB - TAKEN_MIB + 16,
               "the server has given it back", f"RSS {pressed:.0f} MiB")
        tap.ok(not load.error and load.rounds > 2 and not load.refused,
               "and serves meanwhile", load.error, f"rounds {load.rounds}, "
               f"refused {load.refused}")
        rate = load.hits / max(1, load.rounds * HOT)
        tap.ok(rate > 0.95 and not load.wrong,
               "what is read often stays then too, and is right",
               f"hit rate {rate:.3f}, wrong {load.wrong}")
        deadline = time.time() + 30
        number = 20_000_000
        while server.rss_mib() < full * 0.85 and time.time() < deadline:
            refused += fill(client, range(number, number + 5000))
            number += 5000
        tap.ok(server.rss_mib() >= full * 0.85 and not refused,
               "it grows again when the neighbour has gone",
               f"RSS {server.rss_mib():.0f} MiB, refused {refused}")
        tap.ok(read(client, range(number - 5000, number))[1] == 0
               and group.kills() == 0, "and every value is right")


def main():
    tap = Tap()
    harness.need(tap, spillway_cached=cached.program(),
                 survivor=harness.program("survivor"))
    version, reason = harness.memory_parent()
    if not version:
        tap.skip_all(reason)
    with Group(LIMIT_MIB, "cached") as group:
        server = Server([cached.program(), "-t", "2"], group)
        try:
            press(tap, server, group)
        except Exception as error:  # pylint: disable=broad-except
            tap.ok(False, "it runs to its end", repr(error),
                   f"alive {server.alive()}, kills {group.kills()}",
                   server.tail())
        code = server.stop()
        tap.ok(code == 0, "exit code 0 at the end", code)
    tap.end()


if __name__ == "__main__":
    main()
