"""Tests completion as a person at a terminal sees it: keys are sent to a bash and a zsh, and the command that the shell then
runs is compared. The options that are offered for each command are compared with its help. usage: tests/weft/completion.py PROGRAM
"""
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

WEFT = os.path.abspath(sys.argv[1])
passed = failed = 0

# (the keys that are typed, the arguments that weft then gets); a tab completes. The folder has the files model.gguf,
# "a b.gguf" and notes.txt, and the folder sub.
LINES = [
    ("weft insp\tmodel.gguf", ["inspect", "model.gguf"]),
    ("weft run --displ\t", ["run", "--display-prompt"]),
    ("weft run --dev\tcp\t", ["run", "--device", "cpu"]),
    ("weft chat --device=cu\t-q", ["chat", "--device=cuda", "-q"]),
    ("weft bench --cpu-isa avx5\t", ["bench", "--cpu-isa", "avx512"]),
    ("weft run -ctk q\t-ctv f\t", ["run", "-ctk", "q8_0", "-ctv", "f16"]),
    ("weft embed --pooling m\te\t", ["embed", "--pooling", "mean"]),
    ("weft chat --chat-template=chatm\t-q", ["chat", "--chat-template=chatml", "-q"]),
    ("weft help perp\t", ["help", "perplexity"]),
    ("weft help --completion z\t", ["help", "--completion", "zsh"]),
    # Models are offered before other files; where no model fits, any file is offered.
    ("weft run -m mo\t", ["run", "-m", "model.gguf"]),
    ("weft run -m a\t", ["run", "-m", "a b.gguf"]),
    ("weft run -m n\t", ["run", "-m", "notes.txt"]),
    ("weft run -m su\tin\t", ["run", "-m", "sub/inner.gguf"]),
    ("weft inspect mo\t", ["inspect", "model.gguf"]),
    ("weft logits --tokens no\t-m mo\t", ["logits", "--tokens", "notes.txt", "-m", "model.gguf"]),
    # There is nothing to offer, so the typed text stays.
    ("weft run -n \t12 -p no\t", ["run", "-n", "12", "-p", "no"]),
    # Weft accepts this option for the sake of llama.cpp, but does not offer it.
    ("weft run --jinj\t", ["run", "--jinj"]),
]

BASH = """PS1='> '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; source weft.bash
weft() { printf '<%s>' "$@"; echo '!'; }; echo 'rea''dy'
"""
# Ctrl-T writes into a file what zsh would offer at this place: everything that passes through compadd.
ZSH = """PS1='> '; unsetopt zle_bracketed_paste beep; zstyle ':completion:*' menu no; fpath=($PWD $fpath)
autoload -Uz compinit; compinit -u -d dump
weft() { printf '<%s>' "$@"; echo '!' }
compadd() {
    local -a found
    if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then builtin compadd -O found "$@"; offered+=($found); fi
    builtin compadd "$@"
}
listed() { offered=(); _main_complete; print -rl -- $offered >offered; compstate[list]=; compstate[insert]= }
zle -C listed complete-word listed; bindkey '^T' listed; echo 'rea''dy'
"""


def say(good, what, found=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    print(f"ok {what}" if good else f"FAIL {what}: {found!r}", flush=True)


class Shell:
    def __init__(self, command, setup, folder):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="dumb", HOME=folder, LC_ALL="C", COLUMNS="200")
            os.execvp(command[0], command)
        self.seen = ""
        self.type(setup)
        self.until("ready\r\n")

    def type(self, text):
        os.write(self.fd, text.encode())

    def prompted(self, text):
        """Types at the prompt. What comes before it goes through the terminal's own line editing, which takes Ctrl-U as
        an order to forget the line."""
        self.until("> ")
        self.type(text)

    def until(self, text, seconds=30):
        """Returns the output of the shell up to `text`, or all its output if `text` does not come in time."""
        end = time.monotonic() + seconds
        while text not in self.seen and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:
                    break
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def run(self, keys):
        """Types these keys and a newline, and returns the arguments that weft then gets."""
        self.prompted(keys + "\n")
        return re.findall("<(.*?)>", self.until(">!\r\n").rpartition("\n<")[2].join(["<", ""]))

    def close(self):
        self.type("\x15exit\n")
        self.until("\0", 5)
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def parted(arguments):
    """Returns the arguments with --option=value split into two."""
    return [part for a in arguments for part in (a.split("=", 1) if a.startswith("--") else [a])]


def help_names(command):
    """Returns the names of all options that the help of a command lists."""
    text = subprocess.run([WEFT, "help", command], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^  (-.*?)(?:  |$)", text.split("options:\n")[1].split("\nexit codes")[0], re.M)
    return sorted(n for line in lines for n in re.findall(r"(?:^|(?<=, ))-[-\w]+", line))


def commands():
    text = subprocess.run([WEFT, "help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^  (\w+) ", text, re.M)


def bash_offers(folder, words):
    script = 'source weft.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weft; printf "%s\\n" "${COMPREPLY[@]}"'
    run = subprocess.run(["bash", "--norc", "-c", script, "bash", *words], cwd=folder, capture_output=True, text=True)
    return sorted(run.stdout.split()), run.stderr


def check_bash(folder):
    offered, errors = bash_offers(folder, ["weft", ""])
    say(offered == sorted([*commands(), "--help", "--version"]) and not errors, "bash: the commands", (offered, errors))
    for command in commands():
        offered, errors = bash_offers(folder, ["weft", command, "-"])
        say(offered == help_names(command) and not errors, f"bash: options of {command}", (offered, errors))


def check_zsh(folder, shell):
    for command in commands():
        shell.prompted(f"weft {command} -\x14\x15echo 'do''ne'\n")
        shell.until("done\r\n")
        with open(f"{folder}/offered") as lines:
            offered = sorted({line.strip().rstrip("=") for line in lines})
        say(offered == help_names(command), f"zsh: options of {command}", offered)


def check(folder, name):
    with open(f"{folder}/{'_weft' if name == 'zsh' else 'weft.bash'}", "w") as out:
        subprocess.run([WEFT, "help", "--completion", name], stdout=out, check=True)
    command, setup = (["zsh", "-f", "-i"], ZSH) if name == "zsh" else (["bash", "--norc", "--noprofile", "-i"], BASH)
    shell = Shell(command, setup, folder)
    for keys, expected in LINES:
        found = shell.run(keys)
        # zsh may add = to a long option.
        say(parted(found) == parted(expected), f"{name}: {keys!r}", found)
    if name == "zsh":
        check_zsh(folder, shell)
    else:
        check_bash(folder)
    shell.close()


def main():
    for name in ["bash", "zsh"]:
        if shutil.which(name) is None:
            print(f"skip completion of {name}: there is no {name}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(f"{folder}/sub")
            for file in ["model.gguf", "a b.gguf", "notes.txt", "sub/inner.gguf"]:
                open(f"{folder}/{file}", "w").close()
            check(folder, name)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
