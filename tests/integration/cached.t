#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""spillway-cached: the same answers as memcached, and what clients rely on.

Scripts are sent to both servers and answers compared byte by byte; then what
a comparison does not see: input split anywhere, races, slow readers, expiry,
limits, garbage, and how it starts and ends.
"""

import contextlib
import os
import random
import select
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import cached  # noqa: E402
import harness  # noqa: E402
from cached import Client, Server, converse, normal  # noqa: E402
from cached_scripts import SCRIPTS, random_commands  # noqa: E402
from harness import Tap  # noqa: E402

SEED = int(os.environ.get("SPILLWAY_TEST_SEED", "20260301"))


def first_difference(ours, theirs):
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b),
              min(len(ours), len(theirs)))
    return (f"at byte {at} of {len(ours)} and {len(theirs)}: "
            f"ours {ours[max(0, at - 60):at + 80]!r}, "
            f"memcached's {theirs[max(0, at - 60):at + 80]!r}")


def same_as_memcached(tap):
    title = "answers as memcached's"
    memcached = harness.which("memcached")
    if not memcached:
        return tap.skip(title, "memcached is not installed")
    version = harness.run([memcached, "-V"]).stdout.strip()
    if not version.startswith("memcached 1.6."):
        return tap.skip(title, f"written for memcached 1.6, this is {version}")
    user = ["-u", "root"] if os.geteuid() == 0 else []
    with Server([memcached, *user]) as theirs, Server() as ours:
        for name, parts in SCRIPTS.items():
            wrong = []
            for part in parts:
                a = normal(converse(ours, part))
                b = normal(converse(theirs, part))
                if a != b:
                    wrong.append(f"{part[:200]!r}: {first_difference(a, b)}")
            tap.ok(not wrong, f"as memcached: {name}", *wrong)
        rng, wrong = random.Random(SEED), []
        for number in range(400):
            part = b"".join(random_commands(rng))
            a, b = (normal(converse(one, part)) for one in (ours, theirs))
            if a != b:
                wrong.append(f"script {number}: {first_difference(a, b)}")
        tap.ok(not wrong, "as memcached: 400 scripts at random",
               f"seed {SEED}", *wrong[:5])
        tap.ok(ours.alive(), "it is alive afterwards", ours.tail())
    return None


def capable(tap):
    title = "memccapable finds the text protocol as it should be"
    program = harness.which("memccapable")
    if not program:
        return tap.skip(title, "libmemcached-tools is not installed")
    with Server(port=True) as server:
        run = harness.run([program, "-a", "-h", "127.0.0.1", "-p",
                           str(server.port)])
        passed = run.stdout.count("[pass]")
        return tap.ok("All tests passed" in run.stdout and passed >= 20, title,
                      run.stdout, run.stderr)


def splits(tap):
    """With one thread, an answer to another client proves that what was sent
    before has been read, alone."""
    data = (b"set a 5 0 3\r\nabc\r\nget a nope a\r\nset b 0 0 4\r\n\r\n\r\n\r\n"
            b"append b 0 0 2\r\nxy\r\ngets b\r\nset c 0 0 2\r\nbad!\r\nincr a 1"
            b"\r\ntouch a 10\r\nmg a v t k\r\nms d 3 k O1\r\nxyz\r\nmg d v\r\n"
            b"delete a noreply\r\nget a d\r\nnonsense\r\nmd d q\r\nmn\r\n"
            b"set e 0 0 0\r\n\r\nget e\r\n")
    large = (b"set l 1 0 50000\r\n" + bytes(range(256)) * 195 + b"x" * 80
             + b"\r\nget l\r\nset l 1 0 50000\r\n" + b"y" * 50003
             + b"\r\nget l\r\nappend l 0 0 20000\r\n" + b"z" * 20000
             + b"\r\nmg l s\r\n")

    def sent(server, other, pieces):
        with Client(server) as client:
            for piece in pieces:
                client.socket.sendall(piece)
                other.ask(b"mn")
            client.socket.shutdown(socket.SHUT_WR)
            return normal(client.stream.read())

    with Server([cached.program(), "-t", "1"]) as server, \
            Client(server) as other:
        whole = normal(converse(server, data))
        wrong = [i for i in range(1, len(data))
                 if sent(server, other, (data[:i], data[i:])) != whole]
        tap.ok(not wrong, "commands split in two at any byte", wrong)
        single = [data[i:i + 1] for i in range(len(data))]
        tap.ok(sent(server, other, single) == whole, "commands byte by byte")
        whole = normal(converse(server, large))
        places = [*range(1, 30), *range(16370, 16420, 7), 49990, *range(
            50010, 50040), 50049, *range(100040, 100080), len(large) - 1]
        wrong = [i for i in places
                 if sent(server, other, (large[:i], large[i:])) != whole]
        tap.ok(not wrong, "large values split in two", wrong)
        random.seed(SEED)
        for _ in range(5):
            cuts = sorted(random.sample(range(len(large)), 60))
            pieces = [large[a:b] for a, b in
                      zip([0, *cuts], [*cuts, len(large)])]
            wrong += [cuts] * (sent(server, other, pieces) != whole)
        tap.ok(not wrong, "large values in sixty pieces", SEED, wrong)


def in_threads(count, work):
    """Runs work(number) in each; returns what went wrong."""
    problems = []

    def guarded(number):
        try:
            work(number)
        except Exception as error:  # pylint: disable=broad-except
            problems.append(f"{number}: {error!r}")

    threads = [threading.Thread(target=guarded, args=(i,))
               for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return problems


def races(tap):
    with Server([cached.program(), "-t", "4"]) as server:
        with Client(server) as client:
            client.set(b"incr", b"0")
            client.set(b"meta", b"0")
            client.set(b"cas", b"0")
            client.set(b"log", b"")
        tries = [0] * 8

        def work(number):
            with Client(server) as client:
                batch = b"".join(b"incr incr 1\r\nma meta\r\n"
                                 b"append log 0 0 2 noreply\r\n%d,\r\n"
                                 % number for _ in range(500))
                client.socket.sendall(batch)
                for _ in range(1000):
                    client.stream.readline()
                for _ in range(100):
                    while True:
                        tries[number] += 1
                        value, unique = client.gets(b"cas")
                        if client.set(b"cas", b"%d" % (int(value) + 1),
                                      verb=b"cas",
                                      more=b" " + unique) == b"STORED":
                            break

        problems = in_threads(8, work)
        with Client(server) as client:
            found = (client.get(b"incr"), client.get(b"meta"),
                     client.get(b"cas"))
            log = client.get(b"log")
        tap.ok(found[:2] == (b"4000", b"4000"),
               "no incr of eight clients is lost", found, *problems)
        tap.ok(found[2] == b"800", "no cas of eight clients is lost", found,
               *problems)
        tap.note(f"  {sum(tries)} tries for 800 cas")
        tap.ok(sorted(log[::2]) == sorted(b"01234567" * 500),
               "no append of eight clients is lost", len(log))
        winners = []

        def adder(number):
            with Client(server) as client:
                for i in range(300):
                    if client.set(b"lock%d" % i, b"%d" % number,
                                  verb=b"add") == b"STORED":
                        winners.append(i)

        problems = in_threads(6, adder)
        tap.ok(sorted(winners) == list(range(300)) and not problems,
               "of six clients one wins each add", len(winners), *problems)


def slow_reader(tap):
    with Server([cached.program(), "-t", "1"]) as server, \
            Client(server) as slow, Client(server) as other:
        large, small = b"L" * 300000, b"s" * 900
        other.set(b"large", large)
        other.set(b"small", small)
        before = server.rss_mib()
        commands = b"get large small large\r\nincr nope 1\r\n" * 200 \
            + b"get small\r\n" * 20000
        sender = threading.Thread(target=slow.socket.sendall,
                                  args=(commands,))
        sender.start()
        time.sleep(0.5)
        served = all(other.get(b"small") == small for _ in range(200))
        grown = server.rss_mib() - before
        tap.ok(served, "others are served beside a reader who does not read")
        tap.ok(grown < 8, "what waits for a slow reader is bounded",
               f"{grown:.1f} MiB for 120 MiB of answers")
        one = b"VALUE small 0 900\r\n" + small + b"\r\n"
        two = b"VALUE large 0 300000\r\n" + large + b"\r\n"
        good = True
        for _ in range(200):
            expected = two + one + two + b"END\r\nNOT_FOUND\r\n"
            good = good and slow.stream.read(len(expected)) == expected
        for _ in range(20000):
            good = good and slow.stream.read(len(one) + 5) == one + b"END\r\n"
        sender.join()
        tap.ok(good, "and in the end the slow reader has every byte")
        with Client(server) as gone:
            gone.socket.sendall(b"get large large large\r\n" * 50)
            time.sleep(0.1)
        tap.ok(other.ask(b"mn") == b"MN", "one who leaves without reading")


def large_values(tap):
    with Server([cached.program(), "-I", "64m"]) as server, \
            Client(server) as client:
        value = random.Random(SEED).randbytes(48 << 20)
        stored = client.set(b"huge", value)
        tap.ok(stored == b"STORED" and client.get(b"huge") == value,
               "a value of 48 MiB with -I 64m", stored)
        random.seed(SEED)
        wrong = []
        for size in (0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 1 << 20,
                     (2 << 20) - 64, 2 << 20, (2 << 20) + 1, 5000000):
            value = random.randbytes(size)
            if client.set(b"v%d" % size, value) != b"STORED" or client.get(
                    b"v%d" % size) != value:
                wrong.append(size)
        tap.ok(not wrong, "values of sizes around every limit", wrong)
        begun = [Client(server) for _ in range(12)]
        for one in begun:
            one.socket.sendall(b"set begun 0 0 30000000\r\n" + b"x" * 99999)
        # Once one of them is refused, there is no room for another.
        select.select([one.socket for one in begun], [], [], 30)
        answer = None
        with Client(server) as late:
            late.socket.sendall(b"set late 0 0 30000000\r\n")
            with contextlib.suppress(OSError):
                answer = late.stream.readline()
        for one in begun:
            one.close()
        deadline = time.time() + 10
        while client.set(b"after", b"y" * 30000000) != b"STORED" \
                and time.time() < deadline:
            time.sleep(0.1)
        tap.ok(answer == b"SERVER_ERROR out of memory storing object\r\n"
               and client.get(b"after") == b"y" * 30000000,
               "clients that begin large values and do not end", answer)
        with Client(server) as broken:
            broken.socket.sendall(b"set half 0 0 9000000\r\n" + b"x" * 99999)
        tap.ok(client.get(b"half") is None and client.ask(b"mn") == b"MN",
               "a client that leaves within a value")


def connections(tap):
    with Server([cached.program(), "-c", "50"]) as server:
        with Client(server) as client:
            while client.stats()["curr_connections"] != "1":
                time.sleep(0.01)  # whoever saw it start has not left yet
        time.sleep(0.1)
        clients = [Client(server) for _ in range(50)]
        good = all(c.set(b"c%d" % i, b"v%d" % i) == b"STORED"
                   for i, c in enumerate(clients))
        good = good and all(c.get(b"c%d" % (49 - i)) == b"v%d" % (49 - i)
                            for i, c in enumerate(clients))
        tap.ok(good, "fifty connections at once")
        with Client(server) as extra:
            answer = extra.stream.read()
        tap.ok(answer == b"ERROR Too many open connections\r\n",
               "one more than -c is told so", answer)
        for client in clients:
            client.close()
        for _ in range(100):
            answer = None
            with Client(server) as client, contextlib.suppress(OSError):
                answer = client.ask(b"mn")
            if answer == b"MN":
                break
            time.sleep(0.02)
        tap.ok(answer == b"MN", "and may come when others have left", answer)

        def churn(_):
            for i in range(100):
                with Client(server) as client, contextlib.suppress(OSError):
                    client.socket.sendall(b"get c1\r\n"[:i % 9])

        problems = in_threads(4, churn)  # some are over -c, and told so
        time.sleep(0.2)
        with Client(server) as client:
            answer = client.get(b"c1")
        tap.ok(not problems and answer == b"v1",
               "connections that come and go", *problems, server.tail())


def expiry(tap):
    """One wait for all of it."""
    with Server() as server, Client(server) as client:
        client.set(b"one", b"x", 1)
        client.set(b"date", b"x", int(time.time()) + 2)
        client.set(b"far", b"x", int(time.time()) + 40 * 365 * 86400)
        client.set(b"touched", b"x", 1)
        client.ask(b"touch touched 100")
        client.set(b"gat", b"x", 100)
        client.socket.sendall(b"gat 1 gat\r\n")
        gat = [client.stream.readline() for _ in range(3)][-1]
        client.ask(b"ms meta 1 T1\r\nx")
        client.set(b"add", b"x", 1)
        client.set(b"large", b"x" * 50000, 1)
        there = [key for key in (b"date", b"far", b"touched", b"meta")
                 if client.get(key) is None]
        tap.ok(not there and gat == b"END\r\n", "nothing expires early", there)
        time.sleep(3.1)
        left = [key for key in (b"one", b"date", b"gat", b"meta", b"large")
                if client.get(key) is not None]
        tap.ok(not left, "what has expired is gone", left)
        tap.ok(client.get(b"touched") == b"x" and client.get(b"far") == b"x",
               "what was touched, or expires after 2038, is there")
        tap.ok(client.set(b"add", b"y", verb=b"add") == b"STORED",
               "add in place of what has expired")
        client.set(b"before", b"x")
        client.ask(b"flush_all 2")
        kept = client.get(b"before")
        client.set(b"meanwhile", b"x")
        deadline = time.time() + 6
        while client.get(b"before") and time.time() < deadline:
            time.sleep(0.1)
        client.set(b"after", b"x")
        time.sleep(1.2)
        tap.ok(kept == b"x" and client.get(b"meanwhile") is None
               and client.get(b"after") == b"x",
               "flush_all with a delay: all until then, nothing after")
        client.ask(b"flush_all 1")
        client.ask(b"flush_all")
        client.set(b"after", b"x")
        time.sleep(2.2)
        tap.ok(client.get(b"after") == b"x",
               "flush_all takes the place of a delayed one")


def flushes(tap):
    """What is set after an OK to flush_all is there, beside eight others."""
    with Server([cached.program(), "-t", "2"]) as server:
        ended = threading.Event()

        def noise(number):
            with Client(server) as client:
                i = 0
                while not ended.is_set():
                    client.socket.sendall(b"".join(
                        b"set n%d 0 0 3 noreply\r\nabc\r\n" % (i + j)
                        for j in range(100)) + b"mn\r\n")
                    client.stream.readline()
                    i += 100 + number

        def flusher(_):
            with Client(server) as client:
                try:
                    for i in range(100):
                        client.set(b"old", b"x")
                        assert client.ask(b"flush_all") == b"OK"
                        assert client.get(b"old") is None, i
                finally:
                    ended.set()

        problems = in_threads(
            5, lambda n: flusher(n) if n == 0 else noise(n))
        tap.ok(not problems, "flush_all beside writers", *problems)


def garbage(tap):
    words = [b"get", b"set", b"mg", b"ms", b"md", b"ma", b"gat", b"cas",
             b"incr", b"touch", b"a", b"b", b"0", b"1", b"-1", b"99999999999",
             b"noreply", b"v", b"k", b"b", b"T1", b"O1", b"\0", b"\xff" * 30,
             b"flush_all", b"verbosity", b"stats", b" ", b"x" * 300]
    random.seed(SEED)
    with Server() as server:
        for number in range(300):
            if number % 3 == 0:
                data = random.randbytes(random.randrange(1, 20000))
            else:
                data = b"".join(
                    b" ".join(random.choices(words, k=random.randrange(9)))
                    + random.choice((b"\r\n", b"\n", b"\r", b""))
                    for _ in range(random.randrange(1, 200)))
            with contextlib.suppress(OSError):
                converse(server, data)
        with Client(server) as client:
            good = client.set(b"a", b"b") == b"STORED" and \
                client.get(b"a") == b"b"
        tap.ok(good and server.alive(), "garbage, and it goes on serving",
               f"seed {SEED}", server.tail())


def endings(tap):
    for by in (signal.SIGTERM, signal.SIGINT):
        with Server() as server, Client(server) as client:
            client.set(b"a", b"x" * 100000)
            client.socket.sendall(b"get a\r\n" * 100)
            code = server.stop(by)
            tap.ok(code == 0 and not os.path.exists(server.path),
                   f"{by.name}: exit code 0, and the socket is removed", code,
                   server.tail())
    first = Server()
    run = harness.run([cached.program(), "-s", first.path])
    tap.ok(run.returncode == 1 and first.path in run.stderr,
           "a socket that is in use: exit code 1, and it is named",
           run.returncode, run.stderr)
    first.stop(signal.SIGKILL)
    with Server(path=first.path) as second, Client(second) as client:
        tap.ok(client.ask(b"mn") == b"MN",
               "the socket of a killed server is taken over")


def command_line(tap):
    program = cached.program()
    run = harness.run([program, "--help"])
    missing = [word for word in ("--port", "--listen", "--unix-socket",
                                 "--threads", "--conn-limit",
                                 "--max-item-size", "--verbose", "--version",
                                 "Exit status") if word not in run.stdout]
    tap.ok(run.returncode == 0 and not missing, "--help says all", missing)
    run = harness.run([program, "--version"])
    tap.ok(run.returncode == 0 and run.stdout.startswith("spillway-cached "),
           "--version", run.stdout)
    for words, named in ((["-p", "http"], "http"), (["-t", "0"], '"0"'),
                         (["-c", "x"], "--conn-limit"), (["-I", "2g"], "2g"),
                         (["-I", "5"], "1k"), (["-m", "64"], "no -m"),
                         (["thing"], "thing"), (["--bogus"], "bogus"),
                         (["-s", "/" + "x" * 200], "107")):
        run = harness.run([program, *words])
        tap.ok(run.returncode == 2 and named in run.stderr,
               f"{' '.join(words)[:20]}: exit code 2, and it is named",
               run.returncode, run.stderr)
    for words, named in ((["-l", "no.such.host.invalid"], "no.such"),
                         (["-l", "192.0.2.1", "-p", "40404"], "40404"),
                         (["-s", "/nowhere/at/all"], "/nowhere/at/all")):
        run = harness.run([program, *words], timeout=30)
        tap.ok(run.returncode == 1 and named in run.stderr,
               f"{' '.join(words)}: exit code 1, and it is named",
               run.returncode, run.stderr)
    run = harness.run([program, "-s", "/nowhere/at/all"],
                      env=harness.environment(conf="off"))
    tap.ok(run.returncode == 1 and "off" in run.stderr,
           "SPILLWAY_CONF=off: exit code 1, and it is named", run.stderr)


def statistics(tap):
    with Server([cached.program(), "-t", "2"]) as server, \
            Client(server) as client:
        for i in range(10):
            client.set(b"s%d" % i, b"x" * 1000)
        for i in range(20):
            client.get(b"s%d" % i)
        client.ask(b"delete s1")
        client.ask(b"incr nope 1")
        with Client(server) as other:
            other.ask(b"mn")
            stats = client.stats()
        expected = {"cmd_set": "10", "get_hits": "10", "get_misses": "10",
                    "cmd_get": "20", "delete_hits": "1", "incr_misses": "1",
                    "curr_items": "9", "total_items": "10", "threads": "2",
                    "limit_maxbytes": "0", "curr_connections": "2"}
        wrong = {k: stats.get(k) for k, v in expected.items()
                 if stats.get(k) != v}
        tap.ok(not wrong, "stats counts", wrong)
        tap.ok(int(stats["bytes"]) >= 9000
               and int(stats["bytes_read"]) > 10000, "and knows sizes", stats)
        client.ask(b"stats reset")
        stats = client.stats()
        tap.ok(stats["get_hits"] == "0" and stats["curr_items"] == "9"
               and stats["curr_connections"] == "1", "stats reset", stats)


def main():
    tap = Tap()
    harness.need(tap, spillway_cached=cached.program())
    for test in (command_line, same_as_memcached, capable, splits, races,
                 slow_reader, large_values, connections, expiry, flushes,
                 garbage, endings, statistics):
        try:
            test(tap)
        except Exception as error:  # pylint: disable=broad-except
            tap.ok(False, f"{test.__name__} runs to its end", repr(error))
    tap.end()


if __name__ == "__main__":
    main()
