#!/usr/bin/env python3
"""Checks that peers of the load bench can be had, start, and deliver.

    bench/peers/check.py [--sockets N] [--events N] [NAME ...]

Installs each peer, starts it on free ports, connects WebSocket clients to two teams (three clients,
unless told otherwise), publishes five events a team, and looks whether each client got all events
of its team, once, in order, byte for byte. Prints a line a peer; exits 1 if one failed. Without
names it takes every peer that has a folder here.

It reads the same TOML files as touchline-bench, and nothing but the standard library.
"""

import argparse
import base64
import hashlib
import http.client
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

TREE = Path(__file__).resolve().parent
TARGETS = TREE.parent / "targets"
TEAMS = ["t000", "t001"]
PAD_BYTES = 100
# How long anything may take that should take milliseconds.
PATIENCE_S = 20
# How long a client listens for what should not come.
QUIET_S = 0.2
EVENT = re.compile(rb'\{"fill":"x*","n":"[0-9a-f]{8}","seq":"[0-9a-f]{8}","t":"[0-9a-f]{16}"\}')


class Failure(Exception):
    """Why a peer did not pass, in a sentence."""


# --------------------------------------------------------------------------- a target and its words


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TOUCHLINE_CACHE") or Path(base) / "touchline")


def fill(value, words):
    """Puts `words` in place of their {names}, in texts at any depth."""
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace("{" + name + "}", word)
        return value
    if isinstance(value, list):
        return [fill(item, words) for item in value]
    if isinstance(value, dict):
        return {key: fill(item, words) for key, item in value.items()}
    return value


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(listener.getsockname()[1]) for listener in held]
    for listener in held:
        listener.close()
    return ports


# --------------------------------------------------------------------------- the server


class Server:
    """A peer that runs: a process group of its own, killed whole."""

    def __init__(self, start, port):
        self.log = tempfile.TemporaryFile()
        self.child = subprocess.Popen(
            start["command"],
            env=os.environ | start.get("env", {}),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.port = int(port)
        self.ready = start.get("ready", "tcp")

    def wait(self):
        """Until it is ready; says how long that took."""
        began = time.monotonic()
        while not self.is_ready():
            if self.child.poll() is not None:
                raise Failure(f"ended with {self.child.returncode}: {self.last_words()}")
            if time.monotonic() - began > PATIENCE_S:
                raise Failure(f"not ready after {PATIENCE_S} s: {self.last_words()}")
            time.sleep(0.02)
        return time.monotonic() - began

    def is_ready(self):
        try:
            if self.ready == "tcp":
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            url = urlsplit(self.ready)
            link = http.client.HTTPConnection(url.netloc, timeout=1)
            link.request("GET", url.path or "/")
            return link.getresponse().status < 300
        except (OSError, http.client.HTTPException):
            return False

    def last_words(self):
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def memory_kib(self):
        """What all its processes hold, each shared page counted once."""
        total = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                group = (process / "stat").read_text().rsplit(")", 1)[1].split()[2]
                if int(group) == self.child.pid:
                    rollup = (process / "smaps_rollup").read_text()
                    total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1])
            except (OSError, IndexError, TypeError):
                continue  # it ended while it was looked at
        return total

    def stop(self):
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()
        self.log.close()


# --------------------------------------------------------------------------- a client


class Client:
    """A WebSocket written out by hand, as the load bench does."""

    def __init__(self, port, connect, team):
        self.team = team
        self.pong = connect.get("pong")
        self.buffer = b""
        self.parts = []
        self.events = []
        self.link = socket.create_connection(("127.0.0.1", int(port)), PATIENCE_S)
        # What is sent after connecting goes out in several small pieces.
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upgrade(port, connect)
        seen = b""
        for message in connect.get("send", []):
            if isinstance(message, dict):
                seen = self.read_until(message.get("after", ""), seen)
                message = message["text"]
            self.send(1, message.encode())
        self.read_until(connect.get("subscribed", ""), seen)

    def upgrade(self, port, connect):
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {connect['path']} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        ]
        if connect.get("subprotocol"):
            lines.append(f"Sec-WebSocket-Protocol: {connect['subprotocol']}")
        self.link.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        if not head.startswith(b"HTTP/1.1 101") or base64.b64encode(accept) not in head:
            raise Failure(f"{connect['path']} answered {head.splitlines()[0].decode()}")

    def fill(self):
        try:
            part = self.link.recv(65536)
        except TimeoutError:
            raise Failure(f"a client of {self.team} heard nothing for {PATIENCE_S} s") from None
        if not part:
            raise Failure(f"the server closed a client of {self.team}")
        self.buffer += part

    def take(self, count):
        while len(self.buffer) < count:
            self.fill()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, opcode, payload):
        size = len(payload)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + struct.pack(">H", size)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.link.sendall(head + mask + masked)

    def message(self):
        """The next message, pings answered on the way."""
        while True:
            first, second = self.take(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", self.take(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self.take(8))
            payload, opcode = self.take(size), first & 0x0F
            if opcode == 8:
                raise Failure(f"the server closed a client of {self.team}: {payload[2:].decode()}")
            if opcode == 9:
                self.send(10, payload)
            if opcode >= 8:
                continue
            self.parts.append(payload)
            if first & 0x80:
                whole, self.parts = b"".join(self.parts), []
                if self.pong and whole == self.pong["when"].encode():
                    self.send(1, self.pong["text"].encode())
                else:
                    return whole

    def read_until(self, text, seen):
        """Reads on until `text` has been among what was seen; gives all that was."""
        while text.encode() not in seen:
            message = self.message()
            self.events += EVENT.findall(message)
            seen += message
        return seen

    def collect(self, count):
        """Reads until `count` events are there."""
        while len(self.events) < count:
            self.events += EVENT.findall(self.message())

    def linger(self):
        """Takes in what comes although it should not."""
        self.link.settimeout(0.001)
        try:
            while True:
                self.events += EVENT.findall(self.message())
        except Failure:
            self.link.settimeout(PATIENCE_S)


# --------------------------------------------------------------------------- the publisher


class Publisher:
    """Sends to the peer over one connection, by HTTP or as bare bytes."""

    def __init__(self, publish, words):
        self.publish, self.words = publish, words
        if publish["kind"] == "http":
            netloc = urlsplit(fill(publish["url"], words)).netloc
            self.link = http.client.HTTPConnection(netloc, timeout=PATIENCE_S)
        elif publish["kind"] == "tcp":
            host, port = fill(publish["address"], words).rsplit(":", 1)
            self.link = socket.create_connection((host, int(port)), PATIENCE_S)
            self.link.sendall(fill(publish.get("greeting", ""), words).encode())
        else:
            raise Failure(f"publish.kind is {publish['kind']}, which only touchline-bench can do")

    def send(self, team, data):
        words = self.words | {"team": team, "data": data, "len": str(len(data))}
        publish = fill(self.publish, words)
        if publish["kind"] == "tcp":
            self.link.sendall(publish["message"].encode())
            return
        url = urlsplit(publish["url"])
        path = url.path + (f"?{url.query}" if url.query else "")
        headers = publish.get("headers", {})
        method = publish.get("method", "POST")
        self.link.request(method, path, publish["body"].encode(), headers)
        answer = self.link.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Failure(f"{method} {path} answered {answer.status} {text[:100]!r}")


def event(seq, number):
    """What the load bench puts into an event."""
    stamp = f'"n":"{number:08x}","seq":"{seq:08x}","t":"{time.monotonic_ns():016x}"'
    return '{"fill":"' + "x" * PAD_BYTES + '",' + stamp + "}"


# --------------------------------------------------------------------------- the check


def check(name, sockets, events):
    target = tomllib.loads((TARGETS / f"{name}.toml").read_text())
    port, port2 = free_ports(2)
    words = {"port": port, "port2": port2, "peers": str(cache() / "peers"), "tree": str(TREE)}
    start = fill(target.get("start"), words)
    if start is None:
        raise Failure("has no [start], so there is nothing to check here")
    if subprocess.run([TREE / start["install"]], stdin=subprocess.DEVNULL).returncode:
        raise Failure("could not be installed; see above")
    server = Server(start, port)
    try:
        ready_s = server.wait()
        idle_kib = server.memory_kib()
        clients = []
        for number in range(sockets):
            team = TEAMS[number % len(TEAMS)]
            connect = fill(target["connect"], words | {"team": team})
            clients.append(Client(port, connect, team))
        held_kib = server.memory_kib() - idle_kib
        # The publisher stays till the end: a connection closed early may take what it sent with it.
        publisher = Publisher(target["publish"], words)
        compare(clients, publish(publisher, events))
    finally:
        server.stop()
    delivered = f"{events} events x {sockets} sockets in order"
    memory = f"{idle_kib / 1024:.0f} MiB idle"
    if sockets >= 100:
        memory += f", {held_kib / sockets:.1f} KiB a socket"
    return f"{delivered}; ready in {ready_s:.1f} s, {memory} ({version(name)})"


def publish(publisher, events):
    sent = {team: [] for team in TEAMS}
    for seq in range(events):
        for place, team in enumerate(TEAMS):
            data = event(seq, seq * len(TEAMS) + place)
            publisher.send(team, data)
            sent[team].append(data.encode())
    return sent


def compare(clients, sent):
    for client in clients:
        client.collect(len(sent[client.team]))
    time.sleep(QUIET_S)
    for client in clients:
        client.linger()
        if client.events != sent[client.team]:
            got, wanted = len(client.events), len(sent[client.team])
            raise Failure(f"a client of {client.team} got {got} events, not the {wanted} in order")


def version(name):
    path = cache() / "peers" / name / "version"
    return path.read_text().strip() if path.exists() else "version unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="peers; all, if none is named")
    parser.add_argument("--sockets", type=int, default=3, help="how many clients connect")
    parser.add_argument("--events", type=int, default=5, help="how many events each team gets")
    arguments = parser.parse_args()
    folders = [path.name for path in TREE.iterdir() if (path / "install.sh").exists()]
    _, files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files_max, files_max))
    # Even if it is told to stop, it takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    failed = False
    for name in arguments.names or sorted(folders):
        try:
            verdict = "ok    " + check(name, arguments.sockets, arguments.events)
        except (Failure, OSError, http.client.HTTPException, tomllib.TOMLDecodeError) as error:
            verdict, failed = f"FAILED {error}", True
        print(f"{name:12} {verdict}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
