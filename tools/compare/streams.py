"""Requests to a server that speaks OpenAI's API, one per connection, and what came back.

While requests run, only bytes and times are kept; an answer is read when its connection is closed.
So the program that makes the load takes little of the processor that it shares with the server.
"""

import asyncio
import json
import time
import urllib.request
from dataclasses import dataclass, field

Chunks = list[tuple[float, bytes]]


def chat(messages: list[dict], **fields) -> bytes:
    """Returns the body of a streaming request for a chat completion."""
    return json.dumps({"model": "any", "messages": messages, "stream": True,
                       "stream_options": {"include_usage": True}, **fields}).encode()


def post(path: str, body: bytes, host: str = "localhost") -> bytes:
    return (f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n").encode() + body


class Exchange(asyncio.Protocol):
    """Sends a request as soon as it is connected, and keeps what comes until the connection is
    closed. `arrived` is set by every piece that comes."""

    def __init__(self, request: bytes):
        self.request = request
        self.chunks: Chunks = []
        self.began = time.perf_counter()
        self.closed = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()
        self.transport = None

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.chunks.append((time.perf_counter(), data))
        self.arrived.set()

    def connection_lost(self, exc) -> None:
        if not self.closed.done():
            self.closed.set_result(exc)
        self.arrived.set()


async def connect(port: int, request: bytes, host: str = "127.0.0.1") -> Exchange:
    loop = asyncio.get_running_loop()
    exchange = Exchange(request)
    await loop.create_connection(lambda: exchange, host, port)
    return exchange


async def ask(port: int, request: bytes, timeout: float) -> Exchange:
    """Returns when the server has closed the connection, or after the timeout."""
    exchange = await connect(port, request)
    try:
        await asyncio.wait_for(exchange.closed, timeout)
    except asyncio.TimeoutError:
        exchange.transport.abort()
    return exchange


# ---------------------------------------------------------------- reading


class Body:
    """Takes a body out of its transfer coding, piece by piece."""

    def __init__(self, chunked: bool):
        self.chunked, self.rest, self.complete = chunked, b"", False

    def feed(self, data: bytes) -> bytes:
        if not self.chunked:
            return data
        self.rest += data
        out = []
        while not self.complete:
            size, line_end, rest = self.rest.partition(b"\r\n")
            n = int(size.partition(b";")[0], 16) if line_end else 0
            if not line_end or len(rest) < n + 2:
                break
            self.complete = n == 0
            out.append(rest[:n])
            self.rest = rest[n + 2:]
        return b"".join(out)


@dataclass
class Reply:
    status: int = 0  # 0 = no head came
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    # (time at which its last byte had come, data) of each event
    events: list[tuple[float, bytes]] = field(default_factory=list)
    finished: bool = False  # the stream ended with [DONE]


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {k.strip().lower(): v.strip() for k, _, v in pairs}


def read(chunks: Chunks) -> Reply:
    """Reads an answer. One that breaks off is read as far as it goes."""
    reply, head, body, text = Reply(), b"", None, b""
    for when, data in chunks:
        if body is None:
            head, end, data = (head + data).partition(b"\r\n\r\n")
            if not end:
                continue
            reply.status, reply.headers = read_head(head)
            body = Body(reply.headers.get("transfer-encoding", "").lower() == "chunked")
        piece = body.feed(data)
        reply.body += piece
        *events, text = (text + piece).split(b"\n\n")
        for event in events:
            lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
            if lines:
                reply.events.append((when, b"\n".join(lines)))
    reply.finished = bool(reply.events) and reply.events[-1][1] == b"[DONE]"
    return reply


@dataclass
class Stream:
    """A chat completion as its client has seen it."""
    text: str = ""
    times: list[float] = field(default_factory=list)  # of each event with text
    n_prompt: int = 0
    n_cached: int = 0
    n_generated: int = 0
    end: float = 0.0  # of the last event
    error: str = ""  # why it is not a complete answer; "" = it is one


def fault_of(reply: Reply) -> str:
    if reply.status == 0:
        return "no answer"
    if reply.status != 200:
        return f"status {reply.status}: {reply.body[:300].decode(errors='replace')}"
    return "" if reply.finished else "the stream broke off"


def stream_of(reply: Reply) -> Stream:
    stream = Stream(error=fault_of(reply))
    for when, data in reply.events:
        stream.end = when
        if data == b"[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            stream.error = f"error event: {event['error'].get('message', event['error'])}"
        delta = event["choices"][0]["delta"] if event.get("choices") else {}
        text = (delta.get("reasoning_content") or "") + (delta.get("content") or "")
        if text:
            stream.text += text
            stream.times.append(when)
        usage = event.get("usage")
        if usage:
            stream.n_prompt, stream.n_generated = usage["prompt_tokens"], usage["completion_tokens"]
            details = usage.get("prompt_tokens_details") or {}
            stream.n_cached = details.get("cached_tokens", 0)
    return stream


# ---------------------------------------------------------------- small questions


def get(port: int, path: str, timeout: float = 30) -> bytes:
    """Returns the body; raises OSError if there is none, or the status is not 200."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
        return answer.read()


def metrics(port: int) -> dict[str, float]:
    """Returns the values of /metrics that have no labels."""
    out = {}
    for line in get(port, "/metrics").decode().splitlines():
        name, _, value = line.partition(" ")
        if not line.startswith("#") and "{" not in name:
            out[name] = float(value)
    return out
