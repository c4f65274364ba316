# SPDX-License-Identifier: Apache-2.0
"""What TAB does: in real shells, on their terminal, and what the program answers them."""
import os
import pty
import select
import shlex
import shutil
import signal
import stat
import time

import pytest

from harness import PBSMAP, TOP, wait_until, with_terminal
from pbsd import Pbsd

pytestmark = pytest.mark.directory

SHELLS = ["bash", "zsh", "fish"]
PROMPT = "READY> "
BREAKS = " \t\n\"'@><=;|&(:"  # what bash breaks words at
SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
TIMES = [f"2026-01-0{day}T03:04:05Z" for day in (1, 2, 3)]

# Answers TAB as the program does; else it writes its words down.
STAND_IN = """#!/bin/sh
[ "$1" != __complete ] || exec {program} "$@"
for word; do printf '%s\\0' "$word"; done >{out}.new
mv {out}.new {out}
"""

START = {
    "bash": ("rc", "PS1='{prompt}'\nset +o history\n. {scripts}/pbsmap.bash\n",
             ["bash", "--noprofile", "--rcfile", "{rc}", "-i"]),
    "zsh": (".zshrc", "PS1='{prompt}'\nfpath=({scripts} $fpath)\nautoload -U compinit\ncompinit -u -D\n",
            ["zsh", "-d", "-i"]),
    "fish": ("config/fish/config.fish", "function fish_prompt; echo -n '{prompt}'; end\nset -g fish_greeting\n"
             "set -p fish_complete_path {scripts}\n", ["fish", "--private", "-i"]),
}


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, s, name):
        self.out = s.path("words")
        self.shown = ""
        rc, text, command = START[name]
        rc = s.path("shell", rc)
        os.makedirs(os.path.dirname(rc))
        os.mkdir(s.path("bin"))
        # Where there is none, fish goes through all manual pages, in a process that outlives it.
        os.makedirs(s.path("shell", "data", "fish", "generated_completions"))
        with open(rc, "w", encoding="utf-8") as config:
            config.write(text.format(prompt=PROMPT, scripts=os.path.join(TOP, "completion")))
        with open(s.path("bin", "pbsmap"), "w", encoding="utf-8") as stand_in:
            stand_in.write(STAND_IN.format(program=shlex.quote(PBSMAP), out=shlex.quote(self.out)))
        os.chmod(s.path("bin", "pbsmap"), 0o755)
        env = {**s.env, "PATH": f"{s.path('bin')}:{s.env['PATH']}", "TERM": "xterm", "ZDOTDIR": s.path("shell"),
               "XDG_CONFIG_HOME": s.path("shell", "config"), "XDG_DATA_HOME": s.path("shell", "data")}
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(s.directory)
            os.closerange(3, 256)
            os.execvpe(command[0], [word.format(rc=rc) for word in command], env)
        self.wait_for(PROMPT)

    def read(self, seconds):
        """What is shown until then, at most."""
        if select.select([self.terminal], [], [], seconds)[0]:
            self.shown += os.read(self.terminal, 65536).decode(errors="replace")

    def wait_for(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, f"no {text!r} in {self.shown!r}"
            self.read(0.2)

    def type(self, keys):
        os.write(self.terminal, keys.encode())

    def run(self, keys):
        """Types it and Enter: the words that the program gets."""
        self.shown = ""
        self.type(keys + "\r")

        def is_run():
            self.read(0.05)
            return os.path.exists(self.out)
        assert wait_until(is_run), f"{keys!r} does not run: {self.shown!r}"
        with open(self.out, encoding="utf-8") as words:
            words = words.read().split("\0")[:-1]
        os.unlink(self.out)
        self.wait_for(PROMPT)
        return words

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture(params=SHELLS)
def shell(s, request):
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param}")
    shell = Shell(s, request.param)
    yield shell
    shell.close()


def ask(s, *words, **more):
    """The program's answer to zsh and fish: what the shell adds, and the candidates."""
    result = s.pbsmap("__complete", "words", *words, **more)
    assert result.err == "", result
    adds, *lines = result.out.splitlines() or [""]
    return adds, [line.split("\t")[0] for line in lines]


def ask_bash(s, line, breaks=BREAKS, **more):
    result = s.pbsmap("__complete", "bash", line, breaks, **more)
    assert result.err == "", result
    return result.out.splitlines()[1:]


def candidates(s, *words, **more):
    return ask(s, *words, **more)[1]


@pytest.fixture
def history(s, mkstore):
    """A group of three snapshots, the last not finished; one more in a namespace."""
    with open(s.path("raw"), "wb") as raw:
        raw.write(b"x" * 4096)
    made = s.path("made")
    for at in TIMES[:2]:
        s.mkstore(made, f"vm/1/{at}", f"drive-a.img={s.path('raw')}")
    s.mkstore(made, f"vm/1/{TIMES[2]}", "--unfinished", f"drive-a.img={s.path('raw')}")
    s.mkstore(made, f"host/h/{TIMES[0]}", "--ns", "a/b", f"disk.img={s.path('raw')}")
    return made


# -- what is offered ----------------------------------------------------------------------------


def test_words_come_from_the_repository(s, golden, history):
    at = ["--repository", golden.store]
    groups = sorted({i.snapshot.rsplit("/", 1)[0] for i in golden.images if not i.ns})
    offered = candidates(s, "map", *at, "")
    assert offered == [word for group in groups for word in (group, group + "/")]
    assert candidates(s, "snapshots", *at, "vm") == groups
    assert candidates(s, "files", *at, "vm/100/") == [SNAPSHOT]
    images = sorted({i.archive for i in golden.images if i.snapshot == SNAPSHOT and not i.ns})
    assert candidates(s, "map", *at, SNAPSHOT, "") == images
    assert candidates(s, "map", *at, "vm/100", "") == images
    # The newest first, and none that nobody can map
    assert candidates(s, "map", "--repository", history, "vm/1/") == [f"vm/1/{TIMES[1]}", f"vm/1/{TIMES[0]}"]
    assert candidates(s, "map", f"--repository={history}", "--ns=a/b", "") == ["host/h", "host/h/"]
    assert candidates(s, "groups", "--repository", history, "--ns", "") == ["a", "a/b"]
    assert candidates(s, "groups", "--repository", history, "--ns=") == ["--ns=a", "--ns=a/b"]


def test_no_older_snapshot_stands_for_one_that_cannot_be_read(s, root, history):
    os.chmod(os.path.dirname(s.directory), 0o755)
    command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all",
               shutil.copy(PBSMAP, s.path("pbsmap")), "__complete", "words", "map", "--repository", history]
    offered = [s.run(*command, *words).out.splitlines()[1:] for words in (["vm/1"], ["vm/1/"], ["vm/1", ""])]
    assert offered[0] == [f"vm/1\tnewest: {TIMES[1]}", "vm/1/\tits snapshots: 3"]
    assert offered[1:] == [[f"vm/1/{TIMES[1]}", f"vm/1/{TIMES[0]}"], ["drive-a.img"]]
    os.chmod(os.path.join(history, f"vm/1/{TIMES[1]}"), 0)
    offered = [s.run(*command, *words).out.splitlines()[1:] for words in (["vm/1"], ["vm/1/"], ["vm/1", ""])]
    assert offered == [["vm/1\tnot readable", "vm/1/\tnot readable"], [f"vm/1/{TIMES[0]}"], []]
    assert s.run(*command, f"vm/1/{TIMES[0]}", "").out.splitlines()[1:] == ["drive-a.img"]


def test_a_repository_may_be_named_in_every_way(s, golden):
    groups = candidates(s, "snapshots", "--repository", golden.store, "")
    assert groups
    where, name = os.path.split(golden.store)
    assert candidates(s, "snapshots", "--repository", f"./{name}", "", cwd=where) == groups
    assert candidates(s, "snapshots", "--repository", f"~/{name}", "", env={"HOME": where}) == groups
    assert candidates(s, "snapshots", "", env={"PBS_REPOSITORY": golden.store}) == groups
    with open(s.path("repository"), "w", encoding="utf-8") as text:
        text.write(golden.store + "\n")
    assert candidates(s, "snapshots", "", env={"PBS_REPOSITORY_FILE": s.path("repository")}) == groups
    assert candidates(s, "snapshots", "", env={"PBS_REPOSITORY": golden.store, "PBS_NAMESPACE": "no"}) == []


def test_repositories_that_are_known(s):
    os.makedirs(s.path("home", ".cache", "proxmox-backup"))
    with open(s.path("home", ".cache", "proxmox-backup", "repo-list"), "w", encoding="utf-8") as known:
        known.write('{"root@pam@host:store": 3, "bad\\u0007": 1, "own": 1}')
    adds, offered = ask(s, "map", "--repository", "", env={"PBS_REPOSITORY": "own"})
    assert (adds, offered) == ("", ["own", "root@pam@host:store", "/", "./"])
    assert ask(s, "map", "--repository", "./")[0] == "directories"
    # bash replaces only what is behind the last '@' or ':'
    assert ask_bash(s, "pbsmap map --repository root@pam@h") == ["host:store"]
    assert ask_bash(s, "pbsmap map --repository=root@pam@host:") == ["store"]


def test_mappings_that_are_there(s, golden, loop):
    image = golden.image(SNAPSHOT, "drive-scsi0.img")
    assert ask(s, "unmap", "") == ("", [])
    assert not os.path.exists(s.run_dir), "a look makes no directory"
    device = s.map("--name", "one", *image.arguments())
    path = s.map("--via", "file", "--name", "two", *image.arguments(), s.path("image"))
    assert sorted(candidates(s, "unmap", "")) == sorted([device, path, "one", "two"])
    s.kill(s.mapping(device)["pid"], signal.SIGKILL)
    assert wait_until(lambda: sorted(candidates(s, "unmap", "")) == sorted([path, "two"]))
    # One that does not answer is still offered, at once: unmap --force is for it
    s.kill(s.mapping(path)["pid"], signal.SIGSTOP)
    start = time.monotonic()
    assert "two" in candidates(s, "unmap", "")
    assert time.monotonic() - start < 1
    s.pbsmap("unmap", "--force", "two")


# -- real shells --------------------------------------------------------------------------------


def test_shells_complete_a_whole_line(s, shell, golden):
    at = f"--repository {shlex.quote(golden.store)}"
    typed = f"pbsmap ma\t --allow\t {at} vm/10\t/\t drive-scsi0\t --vi\t fi\t ./im"
    with open(s.path("image"), "wb"):
        pass
    assert shell.run(typed + "\t") == ["map", "--allow-unsigned", "--repository", golden.store, SNAPSHOT,
                                       "drive-scsi0.img", "--via", "file", "./image"]


def test_shells_complete_behind_equals_signs_colons_and_quotes(s, shell, golden):
    at = f"--repository={golden.store}"
    with open(s.path("a key"), "wb"):
        pass
    assert shell.run(f"pbsmap map {at} --via=lo\t vm/100/2024-06-03T00:0\t") == \
        ["map", at, "--via=loop", SNAPSHOT]
    assert shell.run(f"pbsmap map {at} \"vm/100/2024-06-03T00:0\t") == ["map", at, SNAPSHOT]
    assert shell.run(f"pbsmap map {at} 'vm/100/2024-06-03T00:0\t") == ["map", at, SNAPSHOT]
    assert shell.run(f"pbsmap map --keyfile={s.path('a')}\t x") == ["map", f"--keyfile={s.path('a key')}", "x"]
    assert shell.run(f"pbsmap map --keyfile {s.path('a')}\t x") == ["map", "--keyfile", s.path("a key"), "x"]
    # zsh takes the '/' back when the line is done
    assert shell.run(f"pbsmap map --chunks={s.path('ho')}\t")[1].rstrip("/") == f"--chunks={s.path('home')}"
    assert shell.run(f"pbsmap map --repository {golden.store[:-1]}\t")[2].rstrip("/") == golden.store


HOSTILE = ["$(touch bad)", "`touch bad`", "a b", "it's", '"x"', ";touch bad;", "&touch bad", "!!", "*", "$HOME", "{a,b}",
           "#x", "[x]:=@", "gr\u00fcn", "<bad", "~", "^x%y"]


def test_hostile_names_reach_the_program_as_they_are(s, shell, golden):
    image = golden.image(SNAPSHOT, "drive-scsi1.img")
    # Behind some last characters shells leave a quote open
    names = [f"n{chr(ord('a') + i)}{name}z" for i, name in enumerate(HOSTILE)]
    for i, name in enumerate(names):
        s.map("--via", "file", "--name", name, *image.arguments(), s.path(f"image{i}"))
    for name in names:
        assert shell.run(f"pbsmap unmap {name[:2]}\t") == ["unmap", name]
        if "!" not in name:
            assert shell.run(f'pbsmap unmap "{name[:2]}\t') == ["unmap", name]
        if "'" not in name:
            assert shell.run(f"pbsmap unmap '{name[:2]}\t") == ["unmap", name]
    assert not os.path.exists(s.path("bad"))


def test_names_that_cannot_be_shown_are_not_offered(s, golden):
    image = golden.image(SNAPSHOT, "drive-scsi1.img")
    for i, name in enumerate(["x\ny", "x\x1b[31m", "x\ty", "x\\y", "x\u0085y"]):
        s.map("--via", "file", "--name", name, *image.arguments(), s.path(f"image{i}"))
    offered = candidates(s, "unmap", "")
    assert sorted(offered) == sorted(s.path(f"image{i}") for i in range(5))


@pytest.mark.parametrize("shell", ["zsh", "fish"], indirect=True)  # bash sorts
def test_shells_show_the_newest_snapshot_first(s, shell, history):
    shell.type(f"pbsmap map --repository {history} vm/1/\t\t\t")
    # What all have in common may be shown once
    first, second, unfinished = (at.removeprefix("2026-01-0") for at in TIMES)
    shell.wait_for(first)
    shell.wait_for(second)
    assert shell.shown.index(second) < shell.shown.index(first)
    assert unfinished not in shell.shown


# -- time, terminal, environment ----------------------------------------------------------------


def timed(function, *arguments, **more):
    start = time.monotonic()
    answer = function(*arguments, **more)
    return answer, time.monotonic() - start


def is_stopped(pid):
    """With all its threads: one that goes on may take a request along, and whoever waits for that cannot be killed."""
    states = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="utf-8") as text:
            states.append(text.read().rsplit(")", 1)[1].split()[0])
    return set(states) == {"T"}


def test_a_datastore_that_hangs_costs_a_moment(s, root, store, golden):
    """Its file system does not answer: a process there is stopped."""
    hanging = s.map("--via", "file", *golden.image(SNAPSHOT, "drive-scsi0.img").arguments(), s.path("image"))
    server = s.mapping(hanging)["pid"]
    others = set(s.servers())
    owner = os.path.join(store, "vm", "100", "owner")
    s.run("mount", "--bind", hanging, owner)
    s.kill(server, signal.SIGSTOP)
    assert wait_until(lambda: is_stopped(server))
    offered, seconds = timed(ask, s, "map", "--repository", store, "")
    assert offered == ("", [])
    assert 1 < seconds < 3
    assert wait_until(lambda: set(s.servers()) <= others), "nobody is left who waits"


def test_a_reader_that_never_comes_costs_a_moment(s):
    os.mkfifo(s.path("fifo"))
    offered, seconds = timed(ask, s, "map", "", env={"PBS_REPOSITORY_FILE": s.path("fifo")})
    assert offered == ("", [])
    assert 1 < seconds < 3
    assert wait_until(lambda: not s.servers())


def test_the_terminal_is_left_alone(s):
    env = {**s.env, "PBS_REPOSITORY_FILE": "/dev/tty"}
    (status, out, shown), seconds = timed(with_terminal, [PBSMAP, "__complete", "words", "map", ""], env, [])
    assert (status, out, shown) == (0, "", "")
    assert seconds < 1, "it waits for somebody to type"


def test_what_is_meant_for_the_command_is_not_consumed(s, golden):
    reader, writer = os.pipe()
    os.write(writer, golden.store.encode() + b"\n")
    env = {"PBS_REPOSITORY_FD": str(reader)}
    assert ask(s, "map", "", env=env, pass_fds=[reader]) == ("", [])
    assert s.pbsmap("groups", env=env, pass_fds=[reader]).out
    os.close(reader)
    os.close(writer)
    assert ask(s, "map", "", env={"PBS_REPOSITORY_CMD": f"touch {s.path('ran')}"}) == ("", [])
    assert not os.path.exists(s.path("ran"))


@pytest.mark.parametrize("words", [
    [], ["words"], ["bash"], ["bash", "pbsmap"], ["pigeon", "x"], ["words", "pigeon", ""], ["words", "map", "--pigeon="],
    ["words", "map", "--repository", "/nowhere", ""], ["words", "map", "--repository", "", ""],
    ["words", "map", "--ns", "..", "vm/"], ["words", "files", "x/y/z/"], ["bash", "", BREAKS],
    ["words", "map", "x" * 5000, ""], ["words", "map", "vm/" + "1" * 5000 + "/"]], ids=range(14))
def test_a_question_that_makes_no_sense_is_passed_over_in_silence(s, golden, words):
    result = s.pbsmap("__complete", *words, env={"PBS_REPOSITORY": golden.store})
    assert (result.out.strip(), result.err) == ("", "")


# -- a server -----------------------------------------------------------------------------------


@pytest.fixture
def pbsd(golden):
    with Pbsd({"store": golden.store}, "--auth-delay=0") as running:
        yield running


def test_a_server_is_asked_once(s, golden, pbsd):
    at = ["map", "--repository", pbsd.repository("store")]
    groups = candidates(s, "map", "--repository", golden.store, "")
    assert groups
    assert candidates(s, *at, "", env=pbsd.env()) == groups
    assert candidates(s, *at, "vm/100/", env=pbsd.env()) == [SNAPSHOT]
    images = candidates(s, "map", "--repository", golden.store, SNAPSHOT, "")
    assert candidates(s, *at, SNAPSHOT, "", env=pbsd.env()) == images
    parts = {"PBS_SERVER": "127.0.0.1", "PBS_PORT": str(pbsd.port), "PBS_DATASTORE": "store", "PBS_AUTH_ID": "test@pbs"}
    assert candidates(s, "map", "", env={**pbsd.env(), **parts}) == groups
    assert candidates(s, "map", "", env={**pbsd.env(), **parts, "PBS_DATASTORE": "other"}) == []
    pbsd.process.kill()
    pbsd.process.wait()
    assert candidates(s, *at, "", env=pbsd.env()) == groups
    assert candidates(s, *at, SNAPSHOT, "", env=pbsd.env()) == images
    assert candidates(s, *at, "vm/200/", env=pbsd.env()) == [], "another question"


def test_a_server_that_does_not_answer_costs_a_moment(s, pbsd):
    os.kill(pbsd.pid, signal.SIGSTOP)
    try:
        offered, seconds = timed(ask, s, "map", "--repository", pbsd.repository("store"), "", env=pbsd.env())
    finally:
        os.kill(pbsd.pid, signal.SIGCONT)
    assert offered == ("", [])
    assert 1 < seconds < 3
    assert wait_until(lambda: not s.servers())


@pytest.mark.parametrize("name", ["PBS_PASSWORD", "PBS_FINGERPRINT"])
def test_nobody_is_asked_for_a_password_or_a_certificate(s, pbsd, name):
    env = {**s.env, **pbsd.env()}
    del env[name]
    command = [PBSMAP, "__complete", "words", "map", "--repository", pbsd.repository("store"), ""]
    (status, out, shown), seconds = timed(with_terminal, command, env, [])
    assert (status, out, shown) == (0, "", "")
    assert seconds < 3


# -- the cache ----------------------------------------------------------------------------------


def cache_files(s, *more):
    directory = s.path(*more or ("home", ".cache", "pbsmap"))
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))] if os.path.isdir(directory) else []


def test_a_repository_is_asked_once(s, store):
    at = ["map", "--repository", store]
    groups = candidates(s, *at, "")
    assert groups
    for path, mode in [(cache_files(s)[0], 0o600), (s.path("home", ".cache", "pbsmap"), 0o700)]:
        assert stat.S_IMODE(os.stat(path).st_mode) == mode
    os.rename(store, store + ".away")
    assert candidates(s, *at, "") == groups
    assert candidates(s, *at, "vm/100/") == [], "another question"
    assert candidates(s, *at, "--ns=a", "") == [], "another question"
    assert candidates(s, "map", "--repository", store + "2", "") == [], "another repository"
    os.utime(cache_files(s)[0], (time.time() - 60,) * 2)
    assert candidates(s, *at, "") == []


def test_a_cache_that_is_odd_is_none(s, store):
    def edit(change):
        def spoil(path):
            with open(path, "r+b") as file:
                text = file.read()
                file.seek(0)
                file.truncate()
                file.write(change(text))
        return spoil

    def link(path):
        os.rename(path, path + ".real")
        os.symlink(path + ".real", path)

    for spoil in [edit(lambda text: text[:-9]), edit(lambda text: text + b"vm/evil\n"), edit(lambda text: b""),
                  edit(lambda text: text.split(b"\n", 1)[1]), edit(lambda text: b"\0" * len(text)),
                  lambda path: os.chmod(path, 0o644), link,
                  lambda path: os.utime(path, (time.time() + 100,) * 2),
                  lambda path: os.chmod(os.path.dirname(path), 0o777)]:
        shutil.rmtree(s.path("home", ".cache"), ignore_errors=True)
        assert candidates(s, "map", "--repository", store, "")
        os.rename(store, store + ".away")
        spoil(cache_files(s)[0])
        assert candidates(s, "map", "--repository", store, "") == []
        os.rename(store + ".away", store)
        assert candidates(s, "map", "--repository", store, ""), "it does not get in the way"


def test_another_users_cache_is_none(s, root, store):
    assert candidates(s, "map", "--repository", store, "")
    os.chown(cache_files(s)[0], 1000, 1000)
    os.rename(store, store + ".away")
    assert candidates(s, "map", "--repository", store, "") == []


def test_root_leaves_nothing_in_a_users_home(s, root, store):
    """sudo -E"""
    os.chown(s.path("home"), 1000, 1000)
    assert candidates(s, "map", "--repository", store, "")
    assert os.listdir(s.path("home")) == []


def test_the_cache_is_bounded_and_cleaned(s, store):
    def ask_each(name):
        for i in range(40):
            candidates(s, "files", "--repository", store, f"{name}/{i}/")  # no such group: not kept
            candidates(s, "map", "--repository", store, "--ns", "", f"--repository={store}")  # not asked
    ask_each("vm")
    assert cache_files(s) == []
    for i in range(40):
        assert candidates(s, "map", "--repository", "./" * (i + 1) + os.path.basename(store), "",
                          cwd=os.path.dirname(store)), i
    assert len(cache_files(s)) == 32
    for path in cache_files(s):
        os.utime(path, (time.time() - 100,) * 2)
    with open(s.path("home", ".cache", "pbsmap", "words-left"), "w", encoding="utf-8") as left:
        os.utime(left.fileno(), (0, 0))
    assert candidates(s, "map", "--repository", store, "")
    assert len(cache_files(s)) == 1


def open_files(pid):
    directory = f"/proc/{pid}/fd"
    return [os.readlink(os.path.join(directory, fd)) for fd in os.listdir(directory)]


def test_nothing_is_held_of_the_shell(s, golden):
    """Whoever waits for the end of a pipe must not wait for one that hangs."""
    os.mkfifo(s.path("fifo"))
    reader, writer = os.pipe()
    child = s.start(PBSMAP, "__complete", "words", "map", "", env={"PBS_REPOSITORY_FILE": s.path("fifo")},
                    stdout=writer, pass_fds=[writer])
    os.close(writer)
    assert wait_until(lambda: len(s.servers()) == 2)
    answering, = set(s.servers()) - {child.pid}
    pipe = os.readlink(f"/proc/self/fd/{reader}")

    def has_let_go():
        files = open_files(answering)
        return "/dev/null" in files and pipe not in files
    assert wait_until(has_let_go, 1)
    assert os.getsid(answering) == answering
    child.kill()
    child.wait()
    assert wait_until(lambda: not s.servers(), 5), "it ends with its parent"
    assert select.select([reader], [], [], 0)[0] and os.read(reader, 1) == b""
    os.close(reader)
