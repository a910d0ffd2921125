"""Servers as processes: started on a free port, watched through /proc, stopped."""

import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import streams

TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def filled(word: str, **values) -> str:
    """Puts values in the place of {their names}; other braces stay."""
    for name, value in values.items():
        word = word.replace("{" + name + "}", str(value))
    return word


class Server:
    """A server that has been started. Its output goes to a file without a name; the last of it is
    shown if the server fails."""

    def __init__(self, name: str, command: str, **values):
        self.name, self.port = name, free_port()
        self.log = tempfile.TemporaryFile()
        self.command = [filled(word, port=self.port, **values) for word in shlex.split(command)]
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        return self.process.pid

    def said(self) -> str:
        """Returns the last of the output. Not behind close()."""
        self.log.seek(max(0, os.fstat(self.log.fileno()).st_size - 2000))
        return self.log.read().decode(errors="replace")

    def wait_ready(self, seconds: float = 300) -> None:
        """Ends the program if the server does not get ready; the server itself may go on."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name}: exit code {self.process.returncode}: "
                                 f"{shlex.join(self.command)}\n{self.said()}")
            try:
                streams.get(self.port, "/health", 5)
                return
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"{self.name}: not ready after {seconds:.0f} s\n{self.said()}")

    def stop(self, seconds: float = 60) -> int:
        """Returns the exit code; one that does not stop is killed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self.process.wait()

    def close(self) -> None:
        self.stop()
        self.log.close()


# ---------------------------------------------------------------- /proc


def read_stat(path: Path) -> tuple[str, float]:
    """Returns the name and the processor seconds of a process or thread. A name may hold blanks and
    brackets."""
    text = path.read_text()
    name = text[text.index("(") + 1:text.rindex(")")]
    fields = text[text.rindex(")") + 2:].split()
    return name, (int(fields[11]) + int(fields[12])) / TICKS


def cpu_seconds(pid: int) -> float:
    """Of all threads, those that have ended included."""
    return read_stat(Path(f"/proc/{pid}/stat"))[1]


def thread_seconds(pid: int) -> dict[str, tuple[str, float]]:
    """Returns {thread: (name, seconds)} of the threads that there are."""
    out = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            out[task.name] = read_stat(task / "stat")
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return out


def by_name(before: dict, after: dict) -> dict[str, dict]:
    """Returns {name: {threads, seconds}} between two calls of thread_seconds()."""
    out = defaultdict(lambda: {"threads": 0, "seconds": 0.0})
    for thread, (name, seconds) in after.items():
        out[name]["threads"] += 1
        out[name]["seconds"] += seconds - before.get(thread, (name, 0.0))[1]
    return dict(out)


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
