#!/bin/sh
# Black-box tests of weft serve: its options, its answers with a real model, its log, and how it ends. What HTTP itself
# demands is tested in tests/serve. Usage: tests/weft/cli_serve.sh [path of weft].

WEFT=${1:-${WEFT:-build/weft}}
QWEN=models/weft-demo-qwen2.gguf
. "$(dirname "$0")/cli_lib.sh"

usage_tests() {
    check 'a template with a mistake' 2 'expected }}' serve -m $QWEN --port 0 --chat-template '{{ bad'
    check 'a context of a few tokens' 2 'expected at least 64' serve -m $QWEN --port 0 -c 5
    check 'no model' 2 'no model' serve
    check 'a port out of range' 2 '65535' serve -m $QWEN --port 65536
    check 'an argument' 2 'unexpected argument' serve -m $QWEN 8080
    check 'a prefix without a slash' 2 'begins with a slash' serve -m $QWEN --api-prefix llm
    check 'a prefix with a slash at the end' 2 'does not end with one' serve -m $QWEN --api-prefix /llm/
    check 'shared context without -np' 2 '-np' serve -m $QWEN -kvu
    check 'a template that nobody knows' 2 'unknown' serve -m $QWEN --chat-template nonsense
    check 'variables that are no object' 2 'no object' serve -m $QWEN --chat-template-kwargs '[]'
    check 'no file of keys' 1 'No such file' serve -m $QWEN --api-key-file "$T/none"
    echo '# nothing' >"$T/keys"
    check 'a file without keys' 2 'no key in it' serve -m $QWEN --api-key-file "$T/keys"
    check 'keys that are only commas' 2 'no key between' serve -m $QWEN --api-key ,
    echo 'a b c' >"$T/keys"
    check 'an odd file of keys' 2 'line 1' serve -m $QWEN --api-key-file "$T/keys"
    check 'no such model' 3 'No such file' serve -m "$T/none" --port 0
    check 'no such address' 1 'cannot listen' serve -m $QWEN --host 192.0.2.1 --port 0
    check 'a socket that cannot be made' 1 'cannot listen' serve -m $QWEN --host "$T/none/x.sock"
}

# start OPTION...: the server; $port is where it listens
start() {
    "$WEFT" serve -m $QWEN --device cpu -t 1 --port 0 "$@" >"$T/out" 2>"$T/err" &
    server=$!
    for _ in $(seq 100); do
        grep -q 'ready after' "$T/err" && break
        sleep 0.1
    done
    port=$(sed -n 's|^.*http://127.0.0.1:\([0-9]*\).*|\1|p' "$T/err" | head -n 1)
    holds "the server is ready: $*" 'ready after' "$T/err"
}

# stop NAME SIGNAL: the server ends with 0, within five seconds
stop() {
    kill -s "$2" $server
    for _ in $(seq 50); do
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    if kill -9 $server 2>/dev/null; then
        bad "$1" 'it did not end'
    fi
    wait $server
    code=$?
    [ $code = 0 ] && ok "$1" || bad "$1" "exit code $code"
}

# judge NAME PROGRAM: a python program that asks the server
judge() {
    if (cd "$T" && timeout 60 python3 -c "
import http.client, json, os, signal, socket, time
def ask(method, path, body=None, **headers):
    c = http.client.HTTPConnection('127.0.0.1', $port, timeout=20)
    c.request(method, path, json.dumps(body) if body is not None else None, headers)
    r = c.getresponse()
    return r.status, r.read().decode(), r
$2") >"$T/said" 2>&1; then
        ok "$1"
    else
        bad "$1" "$(tail -n 3 "$T/said")"
    fi
}

answer_tests() {
    start --metrics -a demo -n 12 --api-key other,secret
    judge 'answers' '
key = {"Authorization": "Bearer secret"}
hi = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0, "max_tokens": 8}
status, text, r = ask("POST", "/v1/chat/completions", hi, **key)
whole = json.loads(text)
assert status == 200 and whole["model"] == "demo", text
assert r.getheader("X-Request-Id") and r.getheader("Server").startswith("weft/")
said = whole["choices"][0]["message"]["content"]
status, text, r = ask("POST", "/v1/chat/completions", {**hi, "stream": True}, **key)
events = [e[6:] for e in text.split("\n\n") if e.startswith("data: ")]
assert text.startswith(":\n\n") and events[-1] == "[DONE]", text
deltas = [json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-1] if json.loads(e)["choices"]]
assert "".join(deltas) == said, (deltas, said)
status, text, r = ask("POST", "/v1/chat/completions", {**hi, "max_tokens": 1000, "ignore_eos": True}, **key)
assert json.loads(text)["usage"]["completion_tokens"] == 12, text
assert ask("POST", "/v1/chat/completions", hi)[0] == 401
assert ask("GET", "/health")[0] == 200
assert ask("POST", "/v1/chat/completions", {"messages": 7}, **key)[0] == 400
for path in "/v1/models", "/v1/models/demo", "/props", "/slots":
    status, text, r = ask("GET", path, **key)
    assert status == 200 and json.loads(text), (path, text)
assert "weft_http_requests_total" in ask("GET", "/metrics", **key)[1]
tokens = json.loads(ask("POST", "/tokenize", {"content": "a loom"}, **key)[1])["tokens"]
assert json.loads(ask("POST", "/detokenize", {"tokens": tokens}, **key)[1])["content"] == "a loom"'
    stop 'SIGTERM ends it' TERM
    holds 'the log has a line for each request' 'POST /v1/chat/completions 200 prompt=' "$T/err"
    holds 'the log names keys' 'key=key2' "$T/err"
    grep -q 'secret\|Bearer' "$T/err" && bad 'the log has no keys' 'it has' || ok 'the log has no keys'
}

# Standard error is a pipe that nobody reads while the server answers more requests than it has room for lines.
unread_log_tests() {
    weft_path=$(realpath "$WEFT") model_path=$(realpath $QWEN) port=0
    judge 'a log that nobody reads stops nobody' "
import subprocess
p = subprocess.Popen(['$weft_path', 'serve', '-m', '$model_path', '--device', 'cpu', '-t', '1', '--port', '0'], stderr=subprocess.PIPE)
address = p.stderr.readline().decode().split('http://')[1].strip()
while b'ready' not in p.stderr.readline():
    pass
c = http.client.HTTPConnection(address, timeout=20)
def health():
    c.request('GET', '/health')
    assert c.getresponse().read() == b'{\"status\":\"ok\"}'
for _ in range(1500):
    health()
assert len(os.read(p.stderr.fileno(), 1 << 20)) > 30000
health()
p.send_signal(signal.SIGTERM)
rest = p.stderr.read().decode()
assert p.wait(10) == 0 and 'lines are missing here' in rest and 'shutting down' in rest, rest"
}

usage_tests
if command -v python3 >/dev/null 2>&1; then
    answer_tests
    unread_log_tests
    start --log-json --log-disable --host 127.0.0.1 --host "$T/weft.sock"
    judge 'a Unix socket' '
s = socket.socket(socket.AF_UNIX)
s.connect("weft.sock")
s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
assert s.recv(1000).startswith(b"HTTP/1.1 200 OK")'
    stop 'Ctrl-C ends it' INT
    judge 'the log is JSON' 'assert all("message" in json.loads(line) for line in open("err"))'
else
    skip 'answers' 'no python3'
fi
finish
