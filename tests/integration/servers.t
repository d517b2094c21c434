#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""redis-server, memcached and nginx under load, without and with the preload.

What clients read back, the state at the end and the exit code after SIGTERM
must be the same. Redis besides: filled, emptied by FLUSHALL, and then a
neighbour in its memory group needs the room: RSS comes back, nobody dies.
"""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import MIB, Group, Tap, which  # noqa: E402

LIMIT_MIB = 512


class Server:
    """A server on a unix socket; stop() gives its exit code."""

    def __init__(self, command, path, preload, group=None):
        self.path = path
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, env=harness.environment(preload),
            preexec_fn=group.join if group else None)
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.connect().close()
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"{command[0]} does not start: "
                           + self.tail() + f" {self.process.returncode}")

    def tail(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-300:]

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(self.path)
        return client

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status",
                  encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def maps(self, name):
        with open(f"/proc/{self.process.pid}/maps", encoding="ascii") as file:
            return name in file.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def redis_commands(client, commands):
    """Pipelines RESP commands; returns the replies' lines."""
    out = b"".join(b"*%d\r\n" % len(c) + b"".join(
        b"$%d\r\n%s\r\n" % (len(w), w) for w in c) for c in commands)
    sender = threading.Thread(target=client.sendall, args=(out,))
    sender.start()
    replies = []
    with client.makefile("rb") as stream:
        for _ in commands:
            line = stream.readline().rstrip()
            if line[:1] == b"$" and line != b"$-1":
                line = stream.read(int(line[1:]) + 2)[:-2]
            replies.append(line)
    sender.join()
    return replies


def redis_neighbour(group, mib):
    """Grows in the group at 2 GB/s; True where it lived."""
    words = [harness.program("survivor"), "--neighbour", str(mib), "grow"]
    with subprocess.Popen(
            ["sh", "-c", 'exec "$0" "$@" 3>&1', *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            preexec_fn=group.join, env=harness.environment()) as neighbour:
        neighbour.stdin.write(b"g")
        neighbour.stdin.flush()
        grown = len(neighbour.stdout.read(16)) == 16
        time.sleep(1)
        alive = neighbour.poll() is None
        neighbour.stdin.close()
        return grown and alive and neighbour.wait(20) == 0


def redis_load(server, folder):
    """Ends empty; the digest is of what was there before."""
    result = {}
    bench = which("redis-benchmark")
    if bench:
        result["redis-benchmark"] = harness.run(
            [bench, "-s", server.path, "-q", "-n", "20000", "-c", "20", "-P",
             "8", "-d", "512", "-r", "10000", "-t",
             "set,get,lpush,lpop,sadd,hset,mset"]).returncode
    with server.connect() as client:
        redis_commands(client, [[b"FLUSHALL"]])
        fill = [[b"SET", b"k%d" % i, b"%d." % i * (i % 1200)]
                for i in range(60000)]
        fill += [[b"RPUSH", b"l%d" % (i % 99), b"v%d" % i]
                 for i in range(20000)]
        fill += [[b"DEL", b"k%d" % i] for i in range(0, 60000, 7)]
        replies = redis_commands(client, fill)
        result["replies"] = hashlib.sha256(b"".join(replies)).hexdigest()
        result["state"] = redis_commands(
            client, [[b"DBSIZE"], [b"DEBUG", b"DIGEST"], [b"GET", b"k100"]])
        full = server.rss_mib()
        redis_commands(client, [[b"FLUSHALL"]])
        server.figures = {"full": full, "flushed": server.rss_mib()}
    return result


def redis_command(path, folder):
    return ["redis-server", "--port", "0", "--unixsocket", path, "--save", "",
            "--appendonly", "no", "--dir", folder, "--enable-debug-command",
            "yes", "--loglevel", "warning"]


def memcached_load(server, folder):
    del folder
    digest = hashlib.sha256()
    with server.connect() as client, client.makefile("rb") as stream:
        for start in range(0, 60000, 1000):
            client.sendall(b"".join(
                b"set k%d 0 0 %d noreply\r\n%s\r\n"
                % (i, i % 1500, b"x" * (i % 1500))
                for i in range(start, start + 1000)))
        client.sendall(b"".join(b"delete k%d noreply\r\n" % i
                                for i in range(0, 60000, 3)))
        for i in range(0, 60000, 11):
            client.sendall(b"get k%d\r\n" % i)
            while True:
                line = stream.readline()
                digest.update(line)
                if line in (b"END\r\n", b""):
                    break
        client.sendall(b"stats\r\n")
        stats = {}
        while (line := stream.readline().split())[:1] == [b"STAT"]:
            stats[line[1]] = line[2]
    return {"values": digest.hexdigest(), "items": stats[b"curr_items"],
            "total": stats[b"total_items"]}


def memcached_command(path, folder):
    del folder
    return ["memcached", "-m", "256", "-s", path, "-t", "4"] + (
        ["-u", "root"] if os.geteuid() == 0 else [])


NGINX = """
daemon off; worker_processes 2; pid {0}/pid; error_log {0}/error.log;
events {{ worker_connections 128; }}
http {{ access_log off; gzip on; gzip_types text/plain; gzip_min_length 1;
  default_type text/plain; client_body_temp_path {0}/b;
  proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;
  scgi_temp_path {0}/s;
  server {{ listen unix:{0}/socket; root {0};
    location /reload {{ return 200 "ok"; }} }} }}
"""


def nginx_command(path, folder):
    del path
    with open(os.path.join(folder, "conf"), "w", encoding="ascii") as file:
        file.write(("user root;" if os.geteuid() == 0 else "")
                   + NGINX.format(folder))
    for i in range(8):
        with open(os.path.join(folder, f"page{i}"), "w",
                  encoding="ascii") as file:
            file.write("".join(f"line {k * k % 977}\n" for k in
                               range(i * 4000)))
    return ["nginx", "-e", folder + "/error.log", "-c", folder + "/conf"]


def nginx_fetch(server, path):
    with server.connect() as client:
        client.sendall(b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                       b"Accept-Encoding: gzip\r\n\r\n" % path)
        answer = b""
        while part := client.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0] + body


def nginx_load(server, folder):
    del folder
    found = {}

    def client(number):
        digest = hashlib.sha256()
        for i in range(60):
            digest.update(nginx_fetch(server, b"page%d" % (i % 8)))
        digest.update(nginx_fetch(server, b"missing"))
        found[number] = digest.hexdigest()

    for stage in range(2):
        threads = [threading.Thread(target=client, args=(stage * 4 + n,))
                   for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if stage == 0:
            server.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
    return found


def once(name, make, load, preload, group=None):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = Server(make(path, folder), path, preload, group)
        try:
            result = load(server, folder)
            if preload:
                result["loaded"] = server.maps(os.path.basename(preload))
            if group and preload:
                redis_pressed(server, group)
        finally:
            code = server.stop()
        result["exit code"] = code
        server.name = name
        return server, result


def redis_pressed(server, group):
    """What becomes of RSS when a neighbour needs the room."""
    usage = group.usage() // MIB
    room = LIMIT_MIB - usage
    server.figures["lived"] = redis_neighbour(
        group, min(LIMIT_MIB - 96, room + 180))
    server.figures["after"] = server.rss_mib()
    with server.connect() as client:
        server.figures["pong"] = redis_commands(
            client, [[b"SET", b"a", b"b" * 100000], [b"PING"]])[1] == b"+PONG"


def redis_back(tap, preload):
    """Fill, FLUSHALL, and the neighbour."""
    title = "redis-server: RSS is back after FLUSHALL and an event"
    version, reason = harness.memory_parent()
    if not version:
        return tap.skip(title, reason)
    if not which("redis-server"):
        return tap.skip(title, "redis-server is not installed")
    with Group(LIMIT_MIB) as group:
        server, _ = once("redis", redis_command, redis_load, preload, group)
        kills = group.kills()
    f = server.figures
    tap.note(f"  RSS full {f['full']:.0f} MiB, after FLUSHALL "
             f"{f['flushed']:.0f}, after the event {f['after']:.0f}")
    return tap.ok(f["lived"] and f["pong"] and not kills and
                  f["after"] < f["full"] / 4, title, f, f"kills {kills}")


def main():
    tap = Tap()
    preload = harness.interposer()
    harness.need(tap, interposer=preload,
                 survivor=harness.program("survivor"))
    for name, make, load in (
            ("redis-server", redis_command, redis_load),
            ("memcached", memcached_command, memcached_load),
            ("nginx", nginx_command, nginx_load)):
        title = f"{name}: answers, state and exit code as without the preload"
        if not which(name):
            tap.skip(title, f"{name} is not installed")
            continue
        try:
            _, plain = once(name, make, load, None)
        except (RuntimeError, OSError) as error:
            tap.skip(title, f"does not run here: {error}")
            continue
        try:
            server, with_it = once(name, make, load, preload)
        except (RuntimeError, OSError) as error:
            tap.ok(False, title, repr(error))
            continue
        loaded = with_it.pop("loaded")
        tap.ok(loaded and plain == with_it, title, f"loaded: {loaded}",
               f"without: {plain}", f"with: {with_it}", server.tail())
    redis_back(tap, preload)
    tap.end()


if __name__ == "__main__":
    main()
