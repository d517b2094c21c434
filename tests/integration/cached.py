# SPDX-License-Identifier: BSD-2-Clause
"""Starts spillway-cached or memcached for a test, and talks to it.

Usage: from cached import Server, Client, converse
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import harness


def program():
    return harness.built("examples/spillway-cached")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """On a unix socket in a folder of its own, or at a TCP port of its own;
    stop() gives the exit code."""

    def __init__(self, command=None, group=None, conf=None, path=None,
                 port=False):
        self.folder = tempfile.TemporaryDirectory()
        self.path = path or os.path.join(self.folder.name, "socket")
        self.port = free_port() if port else None
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [*(command or [program()]),
             *(["-p", str(self.port)] if port else ["-s", self.path])],
            stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, env=harness.environment(conf=conf),
            preexec_fn=group.join if group else None)
        for _ in range(400):
            with contextlib.suppress(OSError):
                Client(self).close()
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.025)
        raise RuntimeError(f"{self.process.args} does not start: {self.tail()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def tail(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-500:]

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status",
                  encoding="ascii") as file:
            for line in file:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def alive(self):
        return self.process.poll() is None

    def stop(self, by=signal.SIGTERM):
        if self.alive():
            self.process.send_signal(by)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed: it did not end"


class Client:
    """One connection, line by line."""

    def __init__(self, server, timeout=30):
        if server.port:
            self.socket = socket.create_connection(("127.0.0.1", server.port))
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(server.path)
        self.socket.settimeout(timeout)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def ask(self, command):
        """The one line of the answer."""
        self.socket.sendall(command + b"\r\n")
        return self.stream.readline().rstrip(b"\r\n")

    def set(self, key, value, exptime=0, verb=b"set", more=b""):
        return self.ask(b"%s %s 0 %d %d%s\r\n%s"
                        % (verb, key, exptime, len(value), more, value))

    def gets(self, key):
        """(value, cas unique) or (None, None)."""
        head = self.ask(b"gets " + key).split()
        if head == [b"END"]:
            return None, None
        value = self.stream.read(int(head[3]) + 2)[:-2]
        assert self.stream.readline() == b"END\r\n"
        return value, head[4]

    def get(self, key):
        return self.gets(key)[0]

    def stats(self):
        self.socket.sendall(b"stats\r\n")
        found = {}
        while (line := self.stream.readline().split())[:1] == [b"STAT"]:
            found[line[1].decode()] = line[2].decode()
        return found


def converse(server, data, timeout=30):
    """Sends everything, hangs up, and returns all that came back."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout)
        client.connect(server.path)

        def send():
            with contextlib.suppress(OSError):
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        answer = bytearray()
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(1 << 20):
                answer += part
        sender.join()
        return bytes(answer)


def normal(answer):
    """Without what differs between two servers that are both right."""
    answer = re.sub(rb"^(VALUE \S+ \d+ \d+) \d+\r$", rb"\1 CAS\r", answer,
                    flags=re.M)
    answer = re.sub(rb"^((?:HD|VA|EN|NF|EX|NS)\b.*?) c\d+", rb"\1 cCAS",
                    answer, flags=re.M)
    return re.sub(rb"^VERSION \S+\r$", b"VERSION\r", answer, flags=re.M)
