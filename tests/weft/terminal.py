"""weft chat on a terminal of its own (a pseudo-terminal): editing, Ctrl-C, Ctrl-D, Ctrl-Z, history, bytes that are no
UTF-8. usage: tests/weft/terminal.py PROGRAM MODEL; the last lines are those of the other black-box tests."""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time

PROGRAM, MODEL = sys.argv[1:3]
SLOW = 60  # seconds: sanitizers and loaded machines
passed = failed = 0
# a parent that runs the tests in the background ignores SIGINT, and the program would inherit that;
# exec resets a handler
signal.signal(signal.SIGINT, signal.default_int_handler)
SUPPRESSED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lsan.supp")
os.environ["LSAN_OPTIONS"] = f"{os.environ.get('LSAN_OPTIONS', '')}:suppressions={SUPPRESSED}:print_suppressions=0"


def check(name, ok, why=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"ok {name}" if ok else f"FAIL {name}: {why!r}", flush=True)


class Chat:
    """The program behind a terminal. `raw` is everything that it has written; `seen` is the same
    without the requests to the terminal."""

    def __init__(self, *args, home=None, command=None):
        self.raw, self.seen, self.at = b"", b"", 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(HOME=home or "/nonexistent", TERM="xterm", LC_ALL="C.UTF-8", CUDA_VISIBLE_DEVICES="")
            chat = [PROGRAM, "chat", "-m", MODEL, "--temp", "0", "--device", "cpu", "-t", "1", *args]
            os.execvp((command or chat)[0], command or chat)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        try:
            data = os.read(self.fd, 65536) if ready else None
        except OSError:  # EIO: the other end is closed
            data = b""
        self.raw += data or b""
        self.seen = re.sub(rb"\x1b(\[(\?(2(0(0(4[hl]|4?$)|$)|$)|$)|$)|$)", b"", self.raw)
        return data

    def until(self, text, seconds=SLOW):
        """Waits for text that comes after the text of the last wait. Returns the output up to its
        end, or None."""
        end = time.monotonic() + seconds
        while text not in self.seen[self.at:]:
            if time.monotonic() > end or self.read(0.2) == b"":
                return None
        start = self.at
        self.at = self.seen.index(text, start) + len(text)
        return self.seen[start : self.at]

    def prompt(self, text=b"> "):
        """Waits for the prompt and then until libedit controls the terminal; it shows the prompt
        first."""
        end = time.monotonic() + SLOW
        found = self.until(text)
        while termios.tcgetattr(self.fd)[3] & termios.ICANON and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def send(self, data):
        os.write(self.fd, data)

    def leave(self, seconds=SLOW):
        """Returns the exit code; -N for signal N, None if the program does not end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                while self.read(0.1):
                    pass
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            self.read(0.05)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return None


def answers():
    c = Chat("--no-history")
    check("a prompt", c.prompt())
    c.send(b"What is the capital of France?\r")
    check("an answer", c.until(b"Paris"), c.seen)
    c.prompt()
    # editing: a letter is taken back, the cursor goes home, a character is put there
    c.send(b"hat is the capital of Italyy\x7f?\x01W\r")
    check("an edited line", c.until(b"Rome"), c.seen[-400:])
    c.prompt()
    c.send(b"\x1b[A")  # up: the last line again
    check("the line before", c.until(b"Italy?"), c.seen[-200:])
    c.send(b"\r")
    check("is sent", c.until(b"Rome"), c.seen[-200:])
    c.prompt()
    c.send(b"/help\r")
    check("a command", c.until(b"/undo"), c.seen[-400:])
    c.prompt()
    c.send(b"/foo\r")
    check("an unknown command", c.until(b"unknown command"), c.seen[-200:])
    c.prompt()
    c.send(b"What is the \\\r")
    check("a line that goes on", c.prompt(b"... "), c.seen[-200:])
    c.send(b"capital of France?\r")
    check("is one message", c.prompt(), c.seen[-200:])
    c.send(b'"""\r')
    check("a block", c.prompt(b"... "), c.seen[-200:])
    c.send(b'A\r')
    c.prompt(b"... ")
    c.send(b'B"""\r')
    check("that ends", c.prompt(), c.seen[-200:])
    c.send(b"\x04")
    check("Ctrl-D leaves", c.leave() == 0)


def slow():
    """Asks for an answer that takes seconds."""
    return Chat("--no-history", "--ignore-eos", "--no-repack", "--cpu-isa", "scalar")


def interrupts():
    c = Chat("--no-history")
    c.prompt()
    c.send(b"half a li")
    c.until(b"half a li")
    c.send(b"\x03")
    check("Ctrl-C drops a line", c.until(b"^C") and c.prompt(), c.seen[-200:])
    c.send(b"\x03")
    check("and leaves at an empty prompt", c.leave() == 130)

    c = slow()
    c.prompt()
    c.send(b"Tell me a story.\r")
    c.until(b"story.")
    time.sleep(0.5)
    c.send(b"\x03")
    check("Ctrl-C stops an answer", c.prompt(b"\n> "), c.seen[-200:])
    c.send(b"/quit\r")
    code = c.leave()
    check("/quit leaves", code == 0, (code, c.seen[-300:]))

    # a second Ctrl-C as soon as the prompt is back: the program must not wait for a key
    left = 0
    for i in range(6):
        c = slow()
        c.prompt()
        c.send(b"Tell me a story.\r")
        c.until(b"story.")
        time.sleep(0.5)
        c.send(b"\x03")
        c.until(b"\n> ")
        os.kill(c.pid, signal.SIGINT) if i % 2 else c.send(b"\x03")
        left += c.leave(3) == 130
    check("Ctrl-C right behind the prompt", left == 6, left)


def bytes_of_others():
    with tempfile.TemporaryDirectory() as home:
        for name, sent, kept in [
            ("the byte behind one that is no UTF-8", b"caf\xe9 ok", "caf ok"),
            ("a lead byte before a character", b"a\xe4\xc3\xa9z", "aéz"),
            ("a lone continuation", b"x\x80y", "xy"),
            ("a whole character", b"\xe4\xb8\xadq", "中q"),
        ]:
            c = Chat("-n", "1", home=home)
            c.prompt()
            c.send(sent + b"\r")
            c.prompt()
            c.send(b"\x04")
            code = c.leave()
            with open(os.path.join(home, ".weft_history"), "rb") as f:
                lines = f.read()
            # as libedit writes white space
            want = kept.replace(" ", "\\040") + "\\012\n"
            ok = code == 0 and lines.endswith(b"\n" + want.encode())
            check(name, ok, lines)
        c = Chat(home=home)
        c.prompt()
        c.send(b"\x1b[A\x01\x0b\x04")  # up, home, cut: history of the run before; then leave
        check("the history is read", c.leave() == 0)
        check("and is private", os.stat(os.path.join(home, ".weft_history")).st_mode & 0o777 == 0o600)
    c = Chat(home="/proc/nowhere")
    check("no place for the history is said", c.until(b"no history"), c.seen)
    c.prompt()
    c.send(b"\x04")
    check("and does no harm", c.leave() == 0)


BEGIN, END = b"\x1b[200~", b"\x1b[201~"
ON, OFF = b"\x1b[?2004h", b"\x1b[?2004l"


def kept(home):
    """Returns the messages in the history, as libedit writes them, without its first line."""
    with open(os.path.join(home, ".weft_history"), "rb") as f:
        return [line.decode("unicode_escape").encode("latin-1").rstrip(b"\n") for line in f.read().splitlines()[1:]]


def pastes():
    for name, sent, want in [
        ("two lines", BEGIN + b"one\rtwo" + END + b"\r", [b"one\ntwo"]),
        ("an empty line, a tab, a last newline", BEGIN + b"a\r\r\tb\r" + END + b"\r", [b"a\n\n\tb"]),
        ("LF", BEGIN + b"a\nb\n\n" + END + b"\r", [b"a\nb"]),
        ("between what is typed", b"see: " + BEGIN + b"x\ry" + END + b" end\r", [b"see: x\ny end"]),
        ("before what is typed", b"tail\x01" + BEGIN + b"x\ry" + END + b"\r", [b"x\nytail"]),
        ("two of them", BEGIN + b"a\rb" + END + BEGIN + b"\rc" + END + b"\r", [b"a\nb\nc"]),
        ("one line waits for Enter", BEGIN + b"one\r" + END + b" more\r", [b"one more"]),
        ("UTF-8", BEGIN + "é\r日本".encode() + END + b"\r", ["é\n日本".encode()]),
        ("control characters and half an end", BEGIN + b"a\x1b[20\x04\x7fb\x1b\x1b[201x\r\x1bc" + END + b"\r", [b"a[20b[201x\nc"]),
        ("a line with / in it", BEGIN + b"/quit\rno" + END + b"\r", [b"/quit\nno"]),
        ("quotes in it", BEGIN + b'"""doc\rx' + END + b"\r", [b'"""doc\nx']),
        ("nothing", BEGIN + END + b"x\r", [b"x"]),
        ("a long one", BEGIN + b"0123456789abcde\r" * 300 + END + b"\r", [b"\n".join([b"0123456789abcde"] * 300)]),
    ]:
        with tempfile.TemporaryDirectory() as home:
            c = Chat("-n", "1", home=home)
            c.prompt()
            check(f"paste: {name}: the marks are asked for", ON in c.raw, c.raw[-100:])
            for at in range(0, len(sent), 512):
                c.send(sent[at : at + 512])
                c.read(0.02)
            got = c.prompt(b"\n> ")
            c.send(b"\x04")
            code = c.leave()
            check(f"paste: {name}", code == 0 and got is not None and kept(home) == want, (code, kept(home), c.seen[-300:]))
            check(f"paste: {name}: no marks in the end", c.raw.rfind(OFF) > c.raw.rfind(ON), c.raw[-100:])
    # a pasted text with a line break is one message: it is answered once, and comes back from the history as one
    c = Chat("--no-history")
    c.prompt()
    c.send(BEGIN + b"What is the capital of\rFrance?" + END)
    shown = c.until(b"France?")
    check("paste: it is shown on lines of its own", shown is not None and b"\n" in shown.split(b"capital of")[-1], shown)
    c.send(b"\r")
    c.prompt()
    c.send(b"\x1b[A\r")
    c.prompt()
    c.send(b"/stats\r")
    c.prompt()
    c.send(b"/undo\r/undo\r/undo\r")
    check("paste: two messages, no more", c.until(b"nothing to take back"), c.seen[-400:])
    c.prompt()
    c.send(BEGIN + b"half a text\r")
    time.sleep(0.3)
    c.send(b"\x03")
    check("paste: Ctrl-C in the middle drops it", c.until(b"^C") and c.prompt(), c.seen[-200:])
    c.send(b"/quit\r")
    check("paste: the chat goes on", c.leave() == 0)
    # a terminal without features is sent no requests; a terminal that goes away does no harm
    c = Chat(command=["env", "TERM=dumb", PROGRAM, "chat", "-m", MODEL, "--device", "cpu", "-t", "1", "--no-history"])
    c.prompt()
    c.send(b"\x04")
    c.leave()
    check("paste: TERM=dumb is not asked", ON not in c.raw, c.raw)
    c = Chat("--no-history")
    c.prompt()
    c.send(BEGIN + b"half")
    time.sleep(0.2)
    os.kill(c.pid, signal.SIGTERM)
    check("paste: SIGTERM ends", c.leave() == -signal.SIGTERM)
    check("paste: and asks for no marks", c.raw.rfind(OFF) > c.raw.rfind(ON), c.raw[-100:])
    c = Chat("--no-history")
    c.prompt()
    c.send(BEGIN + b"half\x04")
    os.close(c.fd)
    end = time.monotonic() + SLOW
    while os.waitpid(c.pid, os.WNOHANG)[0] == 0 and time.monotonic() < end:
        time.sleep(0.05)
    check("paste: a terminal that goes away", time.monotonic() < end)


def signals():
    # this needs a shell with job control: without one, a terminal's only program cannot be stopped
    if shutil.which("bash"):
        c = Chat(command=["bash", "--norc", "--noprofile", "-i"])
        c.send(f"PS1='$ '; exec 2>&1; {PROGRAM} chat -m {MODEL} --temp 0 -t 1 --device cpu --no-history\r".encode())
        c.prompt()
        c.send(b"What is the capital")
        c.until(b"What is the capital")
        c.send(b"\x1a")
        check("Ctrl-Z stops", c.until(b"Stopped"), c.seen[-300:])
        c.send(b"stty -a\r")
        check("the terminal is usable then", c.until(b" icanon"), c.seen[-900:])
        c.send(b"fg\r")
        c.until(b"chat -m")
        time.sleep(0.3)
        c.send(b" of France?\r")
        check("the line is there when it goes on", c.until(b"Paris"), c.seen[-300:])
        c.prompt()
        c.send(b"/quit\r")
        c.until(b"$ ")
        c.send(b"exit\r")
        c.leave()
    else:
        print("skip Ctrl-Z: no bash")
    c = Chat("--no-history")
    c.prompt()
    time.sleep(0.3)
    mode = termios.tcgetattr(c.fd)[3]
    os.kill(c.pid, signal.SIGTERM)
    check("SIGTERM ends", c.leave() == -signal.SIGTERM)
    check("the terminal was in raw mode before", not mode & termios.ICANON)


def plain():
    """Without libedit: standard output is a file, and the prompt goes to standard error."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(CUDA_VISIBLE_DEVICES="", HOME=folder)
            os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
            os.execv(PROGRAM, [PROGRAM, "chat", "-m", MODEL, "--temp", "0", "-t", "1", "--no-history", "--device", "cpu"])
        c = Chat.__new__(Chat)
        c.raw, c.seen, c.at, c.pid, c.fd = b"", b"", 0, pid, fd
        check("a prompt on standard error", c.until(b"> "))
        c.send(b"What is the capital of France?\n")
        c.until(b"> ")
        c.send(b"\x03")
        check("Ctrl-C at its empty prompt", c.leave() == 130)
        with open(out, "rb") as f:
            check("the answer in the file", b"Paris" in f.read())


for test in (answers, interrupts, bytes_of_others, pastes, signals, plain):
    try:
        test()
    except (OSError, ValueError) as e:
        check(test.__name__, False, e)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
