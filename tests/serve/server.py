"""Starts `weft serve` for a test, on a free port, and stops it."""
import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class Server:
    """A running server: url, pid, and what it has written to standard error."""

    def __init__(self, weft, model, *options):
        self.log = tempfile.NamedTemporaryFile(prefix='weft-serve-', suffix='.log')
        self.process = subprocess.Popen(
            [weft, 'serve', '-m', model, '--host', '127.0.0.1', '--port', '0', *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
        self.pid = self.process.pid
        self.url = self._address()

    def _address(self):
        for _ in range(600):
            found = re.search(r'http://127\.0\.0\.1:\d+', self.text())
            if found:
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f'the server does not listen:\n{self.text()}')

    def text(self):
        with open(self.log.name, encoding='utf-8', errors='replace') as f:
            return f.read()

    def get(self, path, headers=None):
        """Returns status and body."""
        request = urllib.request.Request(self.url + path, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def post(self, path, body, headers=None):
        """Returns status and JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method='POST')
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def wait(self, seconds=120):
        """Waits until the model is loaded."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if self.get('/health')[0] == 200:
                    return self
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f'the server is not ready:\n{self.text()}')

    def metric(self, name):
        """Returns the sum of a metric over its labels."""
        lines = re.findall(rf'^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$', self.get('/metrics')[1], re.M)
        if not lines:
            raise KeyError(name)
        return sum(map(float, lines))

    def stop(self, number=signal.SIGTERM, seconds=40):
        """Returns the exit code."""
        if self.process.poll() is None:
            os.kill(self.pid, number)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = 'it did not end'
        self.log.close()
        return code


@contextlib.contextmanager
def serving(weft, model, *options):
    """with serving(...) as server: it is ready, and must end well."""
    server = Server(weft, model, *options)
    try:
        yield server.wait()
    except BaseException:
        print(server.text()[-4000:])
        server.stop()
        raise
    text = server.text()
    code = server.stop()
    if code != 0:
        raise RuntimeError(f'the server ended with {code}:\n{text[-4000:]}')
