#!/usr/bin/env python3
"""Loads a server that speaks OpenAI's API, breaks connections off at any moment, and checks that
nobody's answer changes and nothing is left over.

    stress.py [options] -- build/weft serve -m MODEL --metrics --port {port} [option]...
    stress.py [options] --port N [--pid N]          against a server that runs already

One after the other:

    alone       each of --variants requests (prompt, seed, temperature 0.8, length) once, alone:
                every later text is compared with these
    streams     --streams at the same time, four times as many in all; a third is broken off at a
                random moment
    disconnects --disconnects connections, 64 at a time, that leave at a random moment: before the
                request, in its head, in its body, behind it, in the answer; closed or reset
    idle        --idle connections that say nothing, every second one behind an answer; then four
                leave, and the server answers as it did alone
    sigterm     --sigterm N: SIGTERM while N streams run. Only if stress.py has started the server:
                its exit code has to be 0, within --drain seconds, and every stream complete, or
                ended by an error event or the end of the connection

A complete answer has the text of the lone one, a broken one the beginning of it. 503 is an answer
too: it is counted, and some answers have to be complete. After each of the first four parts the
metrics named by --zero are 0 within --settle seconds, and no more descriptors are open than before.
While connections break off, resident memory grows by no more than --growth MiB behind the first
fifth of them; a KV cache has to be so small that it has been touched by then. Descriptors and
memory need a process: one that stress.py has started, or --pid.

Exit codes: 0 nothing wrong, 1 faults, 2 wrong usage.
"""

import argparse
import asyncio
import random
import resource
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/compare"))
import processes  # noqa: E402
import streams  # noqa: E402

ZERO = "weft_requests_running,weft_requests_waiting,weft_kv_pages_used,weft_sequences"
AT_ONCE = 64  # connections that are being broken off
PATH = "/v1/chat/completions"


class Stress:
    def __init__(self, args, port: int, pid: int | None):
        self.args, self.port, self.pid = args, port, pid
        self.rng = random.Random(args.seed)
        self.faults = []
        self.alone = []  # texts of the variants

    def fault(self, text: str) -> None:
        self.faults.append(text)
        if len(self.faults) <= 20:
            print(f"FAIL {text}", flush=True)

    def say(self, part: str, text: str) -> None:
        print(f"{part:11} {text}", flush=True)

    # ------------------------------------------------------------ requests

    def n_tokens(self, variant: int) -> int:
        return 1 + random.Random(variant).randrange(self.args.tokens)

    def request(self, variant: int) -> bytes:
        """Half of the variants have their beginning in common."""
        rng = random.Random(f"{self.args.seed} {variant}")
        start = "Tell a story about" if variant % 2 else f"Number {rng.randrange(10 ** 6)} is"
        text = f"{start} {' '.join(str(rng.randrange(10 ** 4)) for _ in range(rng.randrange(40)))}"
        body = streams.chat([{"role": "user", "content": text}], seed=rng.randrange(2 ** 31),
                            temperature=0.8, max_tokens=self.n_tokens(variant), ignore_eos=True)
        return streams.post(PATH, body)

    def read(self, exchange: streams.Exchange) -> tuple[str, streams.Stream]:
        """Returns the kind of an outcome, and the stream."""
        reply = streams.read(exchange.chunks)
        stream = streams.stream_of(reply)
        if reply.status == 503:
            return "503", stream
        if not stream.error:
            return "complete", stream
        kind = "error event" if stream.error.startswith("error event") else "broken off"
        return (kind if reply.status in (0, 200) else f"status {reply.status}"), stream

    def check(self, part: str, variant: int, exchange: streams.Exchange, allowed: tuple) -> str:
        """Compares an answer with the lone one. Other outcomes than a complete answer are faults
        if they are not among those that are allowed."""
        kind, stream = self.read(exchange)
        expected = self.alone[variant]
        if kind == "complete" and stream.text != expected:
            self.fault(f"{part}: variant {variant}: another text than alone: "
                       f"{stream.text[:200]!r}, alone {expected[:200]!r}")
        elif not expected.startswith(stream.text):
            self.fault(f"{part}: variant {variant}: not the beginning of the text that came alone: "
                       f"{stream.text[:200]!r}, alone {expected[:200]!r}")
        elif kind != "complete" and kind not in allowed:
            self.fault(f"{part}: variant {variant}: {stream.error}")
        return kind

    async def one(self, part: str, variant: int) -> str:
        exchange = await streams.ask(self.port, self.request(variant), self.args.timeout)
        if not exchange.closed.done():
            self.fault(f"{part}: variant {variant}: no end within {self.args.timeout:.0f} s")
        return self.check(part, variant, exchange, ("503",))

    # ------------------------------------------------------------ what is left over

    def not_zero(self) -> dict:
        if not self.args.zero:
            return {}
        try:
            values = streams.metrics(self.port)
        except OSError as why:
            return {"/metrics": str(why)}
        return {name: values.get(name, "missing") for name in self.args.zero.split(",")
                if values.get(name) != 0}

    async def settled(self, part: str, descriptors: int | None) -> None:
        """Waits until nothing runs and no more descriptors are open than there were."""
        until = time.monotonic() + self.args.settle
        while True:
            left = await asyncio.to_thread(self.not_zero)
            now = processes.descriptors(self.pid) if self.pid else None
            if descriptors is not None and now > descriptors:
                left["descriptors"] = f"{now} instead of {descriptors}"
            if not left:
                return
            if time.monotonic() > until:
                said = ", ".join(f"{name} {value}" for name, value in left.items())
                self.fault(f"{part}: after {self.args.settle:.0f} s without a request: {said}")
                return
            await asyncio.sleep(0.1)

    # ------------------------------------------------------------ parts

    async def run_alone(self) -> None:
        for variant in range(self.args.variants):
            exchange = await streams.ask(self.port, self.request(variant), self.args.timeout)
            kind, stream = self.read(exchange)
            if kind != "complete":
                self.fault(f"alone: variant {variant}: {stream.error}")
            elif stream.n_generated != self.n_tokens(variant):
                self.fault(f"alone: variant {variant}: {stream.n_generated} tokens, expected "
                           f"{self.n_tokens(variant)}: end tokens are ignored")
            self.alone.append(stream.text)
        if len(set(self.alone)) < 2:
            self.fault("alone: all texts are equal, so nothing can be told apart")
        self.say("alone", f"{len(self.alone)} texts, {len(set(self.alone))} different")

    async def maybe_broken(self, part: str, rng: random.Random) -> str:
        """Asks for a variant, and leaves it in one case of three."""
        variant = rng.randrange(self.args.variants)
        if rng.randrange(3) > 0:
            return await self.one(part, variant)
        exchange = await streams.connect(self.port, self.request(variant))
        await self.leave(exchange, rng, self.longest)
        kind = self.check(part, variant, exchange, ("503", "broken off"))
        return "left" if kind == "broken off" else kind

    @staticmethod
    async def some_time(exchange: streams.Exchange, seconds: float) -> None:
        """Waits for the first piece, but not longer."""
        try:
            await asyncio.wait_for(exchange.arrived.wait(), seconds)
        except asyncio.TimeoutError:
            pass

    @staticmethod
    async def pieces(exchange: streams.Exchange, n: int) -> None:
        """Returns when n pieces of the answer have come, or its end."""
        while len(exchange.chunks) < n and not exchange.closed.done():
            exchange.arrived.clear()
            await exchange.arrived.wait()

    async def leave(self, exchange: streams.Exchange, rng: random.Random, longest: float) -> None:
        """Breaks off after a random time or a random number of pieces of the answer."""
        if rng.randrange(2):
            await asyncio.wait([exchange.closed], timeout=rng.random() * longest)
        else:
            await asyncio.wait_for(self.pieces(exchange, rng.randrange(1, 20)), self.args.timeout)
        if rng.randrange(2):
            exchange.transport.abort()
        else:
            exchange.transport.close()
        await exchange.closed

    async def run_streams(self) -> None:
        n = self.args.streams
        began = time.monotonic()
        rngs = [random.Random(self.rng.random()) for _ in range(n)]

        async def several(rng):
            return [await self.maybe_broken("streams", rng) for _ in range(4)]

        # a time within which some streams end and others do not
        self.longest = max(0.5, self.longest * n / 8)
        kinds = Counter(kind for some in await asyncio.gather(*map(several, rngs))
                        for kind in some)
        if n > 0 and not kinds["complete"]:
            self.fault("streams: none was complete")
        self.say("streams", f"{n} at a time: {counted(kinds)}; {time.monotonic() - began:.1f} s")

    async def disconnect(self, rng: random.Random) -> None:
        """Opens a connection, sends a part of a request or all of it, and leaves."""
        request = self.request(rng.randrange(self.args.variants))
        head = request.index(b"\r\n\r\n") + 4
        sent = rng.choice((0, rng.randrange(head), rng.randrange(head, len(request)),
                           len(request), len(request), len(request)))
        exchange = await streams.connect(self.port, request[:sent])
        if rng.randrange(2):
            linger = struct.pack("ii", 1, 0)  # a reset instead of an end
            exchange.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if sent == len(request) and rng.randrange(2):
            await self.some_time(exchange, rng.random() * 0.2)
        elif rng.randrange(2):
            await asyncio.sleep(rng.random() * 0.02)
        exchange.transport.abort()
        await exchange.closed

    async def disconnects(self, n: int) -> None:
        rngs = iter([random.Random(self.rng.random()) for _ in range(n)])

        async def worker():
            for rng in rngs:
                try:
                    await self.disconnect(rng)
                except ConnectionError:
                    self.refused += 1

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))

    async def run_disconnects(self, descriptors: int | None) -> None:
        began, sizes, self.refused = time.monotonic(), [], 0
        for i in range(10):
            n = self.args.disconnects * (i + 1) // 10 - self.args.disconnects * i // 10
            await self.disconnects(n)
            await self.settled(f"disconnects, part {i + 1} of 10", descriptors)
            sizes.append(processes.resident_mib(self.pid) if self.pid else 0.0)
        grown = max(sizes[2:]) - max(sizes[:2])
        if grown > self.args.growth:
            self.fault(f"disconnects: {grown:.1f} MiB more resident than behind the first fifth: "
                       + ", ".join(f"{x:.1f}" for x in sizes))
        self.say("disconnects", f"{self.args.disconnects}, of which {self.refused} refused by the "
                 f"system; resident MiB {', '.join(f'{x:.1f}' for x in sizes)}; "
                 f"{time.monotonic() - began:.1f} s")

    async def idle_one(self, i: int) -> streams.Exchange | None:
        """Every second connection has had an answer."""
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" if i % 2 else b""
        try:
            exchange = await streams.connect(self.port, request)
        except OSError:
            return None
        if request:
            try:
                await asyncio.wait_for(exchange.arrived.wait(), 30)
            except asyncio.TimeoutError:
                self.fault(f"idle: connection {i}: no answer of /health within 30 s")
        return exchange

    async def run_idle(self) -> None:
        opened = [await self.idle_one(i) for i in range(self.args.idle)]
        mine = [x for x in opened if x is not None]
        refused = sum(streams.read(x.chunks).status == 503 for x in mine)
        # room for a request: the others may be all that the server allows
        for x in [x for x in mine if not x.closed.done()][-4:]:
            x.transport.abort()
        await asyncio.sleep(0.2)
        kinds = Counter([await self.one("idle", v) for v in range(min(4, self.args.variants))])
        if not kinds["complete"]:
            self.fault(f"idle: none was complete: {counted(kinds)}")
        still = sum(not x.closed.done() for x in mine)
        for x in mine:
            x.transport.abort()
        self.say("idle", f"{len(mine)} of {self.args.idle} connected, {refused} answered with 503, "
                 f"{still} open behind {counted(kinds)} answers")

    async def run_all(self) -> None:
        descriptors = None
        began = time.monotonic()
        await self.run_alone()
        self.longest = (time.monotonic() - began) / max(1, self.args.variants)
        await self.settled("alone", None)
        if self.pid:
            descriptors = processes.descriptors(self.pid)
        if self.args.streams:
            await self.run_streams()
            await self.settled("streams", descriptors)
        if self.args.disconnects:
            await self.run_disconnects(descriptors)
        if self.args.idle:
            await self.run_idle()
            await self.settled("idle", descriptors)

    # ------------------------------------------------------------ SIGTERM

    async def run_sigterm(self, server: processes.Server) -> None:
        n = self.args.sigterm
        running = [await streams.connect(self.port, self.request(i % self.args.variants))
                   for i in range(n)]
        await self.some_time(running[0], 30)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.to_thread(server.process.wait, self.args.drain)
        except subprocess.TimeoutExpired:
            self.fault(f"sigterm: still there {self.args.drain:.0f} s after SIGTERM")
            server.process.kill()
            code = await asyncio.to_thread(server.process.wait)
        seconds = time.monotonic() - began
        await asyncio.wait([x.closed for x in running], timeout=10)
        kinds = Counter()
        for i, exchange in enumerate(running):
            if not exchange.closed.done():
                self.fault(f"sigterm: stream {i} is open though the server is gone")
            allowed = ("503", "broken off", "error event")
            kinds[self.check("sigterm", i % self.args.variants, exchange, allowed)] += 1
        if code != 0:
            self.fault(f"sigterm: exit code {code}\n{server.said()}")
        self.say("sigterm",
                 f"{n} streams: {counted(kinds)}; exit code {code} after {seconds:.1f} s")


def counted(kinds: Counter) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())) or "none"


def raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Load and broken connections for a server; checks what is left over.")
    add = parser.add_argument
    add("--port", type=int, help="of a server that runs already")
    add("--pid", type=int, help="of that server, for its descriptors and memory")
    add("--streams", type=int, default=256)
    add("--disconnects", type=int, default=10000)
    add("--idle", type=int, default=1024)
    add("--sigterm", type=int, default=0, metavar="N", help="at the end: SIGTERM under N streams")
    add("--variants", type=int, default=16, help="different requests (default 16)")
    add("--tokens", type=int, default=48, help="most tokens of an answer (default 48)")
    add("--timeout", type=float, default=600, help="seconds for one answer (default 600)")
    add("--settle", type=float, default=30, help="seconds until nothing runs (default 30)")
    add("--drain", type=float, default=45, help="seconds from SIGTERM to the end (default 45)")
    add("--growth", type=float, default=8, help="MiB (default 8; a sanitizer keeps freed memory)")
    add("--zero", default=ZERO, metavar="NAMES", help=f"default {ZERO}; '' = none")
    add("--seed", type=int, default=1)
    add("command", nargs="*", help="starts a server; {port} is a free one")
    return parser


async def run(args, server: processes.Server | None) -> Stress:
    port, pid = (server.port, server.pid) if server else (args.port, args.pid)
    stress = Stress(args, port, pid)
    await stress.run_all()
    if args.sigterm:
        await stress.run_sigterm(server)
    return stress


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    if (args.port is None) == (not args.command):
        parser.error("either --port of a server, or behind -- the command of one")
    if args.sigterm and not args.command:
        parser.error("--sigterm needs the command of a server: only its parent sees the exit code")
    raise_limit()
    command = shlex.join(args.command)
    server = processes.Server("server", command) if args.command else None
    try:
        if server:
            server.wait_ready()
        faults = asyncio.run(run(args, server)).faults
    finally:
        code = server.stop() if server else 0
    if code != 0 and not args.sigterm:
        print(f"FAIL exit code {code}\n{server.said()}")
        faults.append("exit code")
    print(f"{len(faults)} faults" if faults else "ok, no fault")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
