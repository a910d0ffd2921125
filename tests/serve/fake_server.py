#!/usr/bin/env python3
"""A server for tests of the programs that load servers: it answers chats with words that follow
from the prompt and the seed, and has the faults that those programs must find.

    fake_server.py --port N [--delay S] [--fault NAME]

Faults: mix (now and then a word of another answer), short (a token too few), error (every fourth
answer breaks off with an error event), leak (keeps a descriptor for each client that leaves),
running (never counts a client that leaves as gone), stuck (does not end on SIGTERM), code (ends
with exit code 3), cut (says that a stream is done though it is not).
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys

FAULTS = ("mix", "short", "error", "leak", "running", "stuck", "code", "cut")


class Fake:
    def __init__(self, args):
        self.delay, self.fault = args.delay, args.fault
        self.n_running, self.n_asked, self.leaked = 0, 0, []
        self.draining = asyncio.Event()

    def metrics(self) -> bytes:
        return (f"# HELP weft_requests_running x\nweft_requests_running {self.n_running}\n"
                f"weft_requests_waiting 0\nweft_kv_pages_used {self.n_running}\n"
                f"weft_sequences {self.n_running}\n").encode()

    async def words(self, writer, ask: dict):
        rng = random.Random(f"{ask['messages']} {ask.get('seed')}")
        n = ask["max_tokens"] - (self.fault == "short")
        for i in range(n):
            if self.draining.is_set():
                raise InterruptedError("the server is shutting down")
            if self.fault == "error" and self.n_asked % 4 == 0 and i == n // 2:
                raise InterruptedError("planted")
            if self.fault == "cut" and self.n_asked % 4 == 0 and i == n // 2:
                return
            word = f"w{rng.randrange(1000)} "
            if self.fault == "mix" and self.n_asked % 4 == 0 and i == n // 2:
                word = "other "
            self.event(writer, {"choices": [{"index": 0, "delta": {"content": word}}]})
            await writer.drain()
            await asyncio.sleep(self.delay)

    @staticmethod
    def event(writer, data) -> None:
        if writer.transport.is_closing():
            raise ConnectionResetError
        text = data if isinstance(data, str) else json.dumps(data)
        piece = f"data: {text}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))

    async def chat(self, writer, ask: dict) -> None:
        self.n_asked += 1
        self.n_running += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n")
        n = ask["max_tokens"] - (self.fault == "short")
        try:
            await self.words(writer, ask)
            self.event(writer, {"choices": [], "usage": {"prompt_tokens": 10,
                                                         "completion_tokens": n}})
            self.event(writer, "[DONE]")
        except InterruptedError as stop:
            self.event(writer, {"error": {"code": 503, "message": str(stop)}})
        except ConnectionError:
            self.n_running += self.fault == "running"
            if self.fault == "leak":
                self.leaked.append(os.dup(0))
            raise
        finally:
            self.n_running -= 1
        writer.write(b"0\r\n\r\n")

    async def answer(self, reader, writer) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split()[1]
        if path == "/v1/chat/completions":
            length = head.lower().split("content-length:")[1].split()[0]
            await self.chat(writer, json.loads(await reader.readexactly(int(length))))
            return
        body = self.metrics() if path == "/metrics" else b'{"status":"ok"}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def serve(self, reader, writer) -> None:
        try:
            await self.answer(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


async def main(args) -> int:
    fake = Fake(args)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, fake.draining.set)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", args.port, backlog=2048)
    await fake.draining.wait()
    server.close()
    while fake.n_running > 0 or args.fault == "stuck":
        await asyncio.sleep(0.01)
    return 3 if fake.fault == "code" else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds of a token")
    parser.add_argument("--fault", choices=FAULTS)
    sys.exit(asyncio.run(main(parser.parse_args())))
