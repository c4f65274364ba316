# SPDX-License-Identifier: Apache-2.0
"""ls, cat and extract: what they say, what they refuse, and what they make of damage."""
import errno
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tarfile

import pytest

from golden import Golden
from harness import DAMAGED, FAILED, MIB, MKSTORE, NOT_FOUND, PBSMAP, REFUSED, TOP, USAGE, wait_until
from pbsd import Pbsd

sys.path.insert(0, os.path.join(TOP, "tests", "tools"))
import pxar  # pylint: disable=wrong-import-position
from stored import Stream, needed_for_listing, write_loose  # pylint: disable=wrong-import-position

SIGNED, LINKS, NS = "vm/203/2025-01-01T00:00:00Z", "host/nshost/2025-01-01T00:00:05Z", ["--ns", "a/b"]
DATA_OF_NAMES = ".chunks/b0fa/b0fa429c5b3789e603c5eaadc09af54540cc5935c076a315683f6607eb6d8ab5"
ENTRIES_OF_NAMES = ".chunks/72ca/72cac71dd81fa3884aaff434d8c98fc74fefd9dd36ecac647375cb083cc3fae4"
MANY, MANY_SPLIT = "host/many/2026-01-02T03:04:05Z", "host/many/2026-01-02T03:04:06Z"


@pytest.fixture
def files(s):
    """A copy of the small datastore of file archives, to be damaged; options that name it."""
    golden = Golden("golden-files", os.path.join(TOP, "tests", "golden-files"))
    golden.unpack(s.directory)
    s.env["PBS_REPOSITORY"] = golden.store
    return golden.store


@pytest.fixture(scope="session")
def many_chunks_of_all(base):
    """Two archives of the same 3000 files, in chunks so short that each place of them has its own; their directory."""
    store = os.path.join(base, "many-chunks")
    for snapshot, name in ((MANY, "one.pxar"), (MANY_SPLIT, "split.mpxar")):
        subprocess.run([MKSTORE, "--lazy", "--chunk-size", "16K", "--synthetic-tree", "3000:32M", store, snapshot, name],
                       check=True, timeout=120, stdout=subprocess.DEVNULL)
    return store


@pytest.fixture
def many_chunks_to_read(s, mkstore, many_chunks_of_all):
    s.env["PBS_REPOSITORY"] = s.repository(many_chunks_of_all)
    return many_chunks_of_all


@pytest.fixture
def many_chunks(s, mkstore, many_chunks_of_all):
    """The same for one test, which may take chunks away, but not write into them."""
    s.run("cp", "-a", "--link", many_chunks_of_all, s.path("store"))
    s.env["PBS_REPOSITORY"] = s.repository(s.path("store"))
    return s.path("store")


def names_of(rows):
    return [row.split(" ")[-1] for row in rows.splitlines()]


# -- ls ----------------------------------------------------------------------------------------


def test_ls_shows_a_directory(s, files):
    out = s.pbsmap("ls", *NS, LINKS, "links.pxar").out
    rows = {row.split()[5]: row for row in out.splitlines()}
    assert list(rows) == ["abs", "dangling", "dotdot", "long-target", "loop", "rel", "target"]
    assert rows["abs"].split() == ["lrwxrwxrwx", "0", "0", "-", "2023-08-20T04:04:29Z", "abs", "->", "/etc/hostname"]
    assert rows["target"].split() == ["-rw-r--r--", "0", "0", "12", "2100-01-01T00:00:00Z", "target"]


def test_ls_shows_one_file_by_its_path(s, files):
    assert names_of(s.pbsmap("ls", *NS, LINKS, "links.pxar", "/target").out) == ["target"]
    path = "ordner-ä/ünter/datei"
    assert names_of(s.pbsmap("ls", SIGNED, "names.pxar", path).out) == [path]
    assert names_of(s.pbsmap("ls", SIGNED, "names.pxar", "ordner-ä").out) == ["ünter"]
    assert names_of(s.pbsmap("ls", "-R", SIGNED, "names.pxar", "/ordner-ä//").out) == [
        "ordner-ä", "ordner-ä/ünter", path]


def test_ls_writes_no_control_characters(s, files):
    out = s.pbsmap("ls", SIGNED, "names.pxar").out
    assert "new\\x0aline\n" in out and "\\x01\\x7f\\xff\n" in out and "tab\\x09\n" in out
    assert all(c >= " " or c == "\n" for c in out)


def test_ls_takes_every_name_of_a_split_archive(s, files):
    want = s.pbsmap("ls", SIGNED, "names.pxar").out
    for name in ("names.mpxar", "names.ppxar", "names.mpxar.didx", "names.pxar.didx"):
        assert s.pbsmap("ls", SIGNED, name).out == want


def test_ls_prints_json_one_way_or_the_other(s, files):
    short = s.pbsmap("ls", "--json", *NS, LINKS, "links.pxar")
    pretty = s.pbsmap("ls", "--output-format", "json-pretty", *NS, LINKS, "links.pxar")
    assert short.json == pretty.json and len(short.json) == 7
    assert s.pbsmap("ls", "--json", SIGNED, "names.pxar", "with space").json[0]["path"] == "with space"


@pytest.mark.directory
def test_ls_that_breaks_off_prints_whole_documents(s, many_chunks_to_read):
    """Its server does not go on; much was written by then."""
    chunk = Stream(many_chunks_to_read, os.path.join(MANY, "one.pxar.didx")).digests[700].hex()
    with Pbsd({"store": many_chunks_to_read}, "--auth-delay=0") as server:
        server.fault("ignore", path=f"chunk.digest={chunk}", times=0)
        result = s.fails(FAILED, "ls", "-R", "--json", "--timeout", "1", "--repository", server.repository("store"),
                         MANY, "one.pxar", env=server.env())
    array, behind = json.JSONDecoder().raw_decode(result.out)
    assert len(array) > 1000 and array[-1]["path"].startswith("d")
    assert "no answer" in json.loads(result.out[behind:])["error"]["message"]


@pytest.mark.parametrize("path,status,words", [
    ("gone", NOT_FOUND, "there is no gone"),
    ("target/x", NOT_FOUND, "x is not a directory"),
    ("loop/x", FAILED, "too many symbolic links"),
])
def test_ls_says_what_is_not_there(s, files, path, status, words):
    assert words in s.fails(status, "ls", *NS, LINKS, "links.pxar", path).err


def test_archives_that_are_not_there_are_refused(s, files):
    result = s.fails(NOT_FOUND, "ls", "--json", SIGNED, "gone.pxar")
    assert result.json["error"]["candidates"] == ["names.pxar"]
    s.fails(USAGE, "ls", SIGNED, "qemu-server.conf")
    assert "ls, cat and extract" in s.fails(USAGE, "map", SIGNED, "names.pxar").err
    s.fails(REFUSED, "ls", "vm/201", "names.pxar")


# -- cat ---------------------------------------------------------------------------------------


def test_cat_follows_links_inside_the_archive(s, files):
    want = s.pbsmap("cat", *NS, LINKS, "links.pxar", "target").out
    assert len(want) == 12 and s.pbsmap("cat", *NS, LINKS, "links.pxar", "rel").out == want
    assert "there is no etc" in s.fails(NOT_FOUND, "cat", *NS, LINKS, "links.pxar", "abs").err
    s.fails(USAGE, "cat", *NS, LINKS, "links.pxar", "/")
    s.fails(USAGE, "cat", *NS, LINKS, "links.pxar")
    s.fails(FAILED, "cat", *NS, LINKS, "links.pxar", "loop")


def test_a_word_that_lacks_is_said_before_anything_is_opened(s):
    for words in (["host/a", "a.pxar"], ["./a.pxar.didx", "a", "b", "--chunks", "gone"]):
        assert "cat needs one PATH" in s.fails(USAGE, "cat", "--repository", "/gone", *words).err
    assert "too many" in s.fails(USAGE, "ls", "./a.pxar.didx", "a", "b", "--chunks", "gone").err


def test_cat_is_silent_when_nobody_reads_on(s, files):
    child = subprocess.run(["sh", "-c", f'"{PBSMAP}" cat "$@" | true', "sh", *NS, LINKS, "links.pxar", "target"],
                           env=s.env, capture_output=True, check=False, timeout=60)
    assert child.stderr == b""


# -- extract -----------------------------------------------------------------------------------


def test_extract_takes_only_what_was_asked_for(s, root, files):
    target = s.path("out")
    os.mkdir(target, 0o700)
    s.pbsmap("extract", SIGNED, "names.pxar", "ordner-ä/ünter/datei", "/ordner-ä/ünter", "ß", "--to", target)
    found = sorted(os.path.relpath(os.path.join(top, name), target)
                   for top, dirs, names in os.walk(target) for name in dirs + names)
    assert found == ["ordner-ä", "ordner-ä/ünter", "ordner-ä/ünter/datei", "ß"]
    assert os.stat(target).st_mode & 0o7777 == 0o700  # it is not the root of the archive
    assert os.stat(os.path.join(target, "ordner-ä")).st_mtime_ns == 1658534916649078023


def test_extract_refuses_a_directory_with_something_in_it(s, files):
    target = s.path("out")
    os.mkdir(target)
    with open(os.path.join(target, "x"), "w", encoding="utf-8"):
        pass
    assert "is not empty" in s.fails(FAILED, "extract", SIGNED, "names.pxar", "--to", target).err
    assert os.listdir(target) == ["x"]


def test_extract_wants_to_know_where_to(s, files):
    s.fails(USAGE, "extract", SIGNED, "names.pxar")
    s.fails(USAGE, "extract", SIGNED, "names.pxar", "--to", s.path("out"), "--tar", "-")
    for target in (["--to", s.path("out")], ["--tar", s.path("out")]):
        assert "there is no gone\n" in s.fails(NOT_FOUND, "extract", SIGNED, "names.pxar", "ß", "gone", *target).err
        result = s.fails(NOT_FOUND, "extract", SIGNED, "names.pxar", "ordner-ä/*.txt", *target)
        assert "there is no *.txt, while looking for ordner-ä/*.txt; a PATH is taken as it is" in result.err
        assert not os.path.lexists(s.path("out"))
    with open(s.path("tar"), "w", encoding="utf-8"):
        pass
    s.fails(FAILED, "extract", SIGNED, "names.pxar", "--tar", s.path("tar"))


def test_extract_writes_a_tar_archive_to_a_pipe(s, files):
    child = subprocess.run([PBSMAP, "extract", SIGNED, "names.pxar", "ordner-ä/ünter", "--tar", "-"], env=s.env,
                           capture_output=True, check=True, timeout=60)
    with open(s.path("tar"), "wb") as out:
        out.write(child.stdout)
    with tarfile.open(s.path("tar")) as tar:
        assert tar.getnames() == ["ordner-ä", "ordner-ä/ünter", "ordner-ä/ünter/datei"]


BAR = r"\r\[=*> *\] +\d+ %  [0-9.]+ [KM]?i?B  \d+ files?  [0-9.]+ [KMG]?i?B/s(  [\d:]+ left)?\x1b\[K"
ERASED = r"\r\x1b\[K"


def read_slowly(child, terminal):
    """All of its stdout, and what the terminal shows; in no hurry until it shows something."""
    shown, out, is_open = b"", b"", True
    while is_open:
        ready = select.select([terminal], [], [], 0 if shown else 0.01)[0]
        if ready:
            shown += os.read(terminal, 4096)
            fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, MIB)
        else:
            piece = os.read(child.stdout.fileno(), MIB)
            out += piece
            is_open = piece
    child.wait(60)
    while select.select([terminal], [], [], 0)[0]:
        shown += os.read(terminal, 4096)
    return out, shown.decode()


def test_extract_shows_on_a_terminal_how_far_it_is(s, many_chunks):
    """And what there is to say comes on lines of its own; nothing of it goes elsewhere."""
    last = Stream(many_chunks, os.path.join(MANY, "one.pxar.didx")).digests[-20].hex()
    os.unlink(os.path.join(many_chunks, ".chunks", last[:4], last))
    command, env = [PBSMAP, "extract", MANY, "one.pxar", "--tar", "-"], {**s.env, "TERM": "xterm"}
    quiet = subprocess.run(command, env=env, capture_output=True, check=False, timeout=60)
    terminal, other = pty.openpty()
    child = s.start(*command, env=env, stdout=subprocess.PIPE, stderr=other)
    out, shown = read_slowly(child, terminal)
    os.close(other)
    os.close(terminal)
    child.stdout.close()
    assert out == quiet.stdout and child.returncode == quiet.returncode == DAMAGED
    assert re.fullmatch(f"({BAR})+({ERASED}([^\\r\\n\\x1b]+\\r\\n)+({BAR})*)+({ERASED})?", shown), shown
    assert not re.fullmatch(f".*{BAR}", shown, re.DOTALL)
    said = re.sub(f"{BAR}|{ERASED}", "", shown).splitlines()
    assert said == quiet.stderr.decode().splitlines() and last[:8] in shown


def test_extract_writes_a_tar_archive_to_a_pipe_with_a_name(s, files):
    pipe = s.path("pipe")
    os.mkfifo(pipe)
    reader = s.start("tar", "--read-full-records", "-tf", pipe, stdout=subprocess.DEVNULL)
    s.pbsmap("extract", SIGNED, "names.pxar", "--tar", pipe)
    assert reader.wait(20) == 0
    reader = s.start("cat", pipe, stdout=subprocess.DEVNULL)
    s.fails(NOT_FOUND, "extract", SIGNED, "names.pxar", "gone", "--tar", pipe)
    assert reader.wait(20) == 0 and os.path.exists(pipe)


def test_extract_as_an_ordinary_user_restores_what_it_may(s, root, files):
    target = s.path("out")
    os.mkdir(target)
    os.chown(target, 65534, 65534)
    result = s.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PBSMAP, "extract", *NS, LINKS,
                   "links.pxar", "--to", target)
    assert "warning: owners are not restored" in result.err
    st = os.lstat(os.path.join(target, "rel"))
    assert (st.st_uid, st.st_mtime_ns) == (65534, 1687110688975034329)


def test_extract_says_at_once_that_it_may_not_write(s, root, files):
    target = s.path("out")
    os.mkdir(target, 0o755)
    result = s.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PBSMAP, "extract", SIGNED, "names.pxar",
                   "--to", target, check=False)
    assert result.status == REFUSED
    assert result.err.splitlines()[-1] == f"pbsmap: cannot write into the directory {target}: Permission denied"
    assert "cannot make" not in result.err


def test_extract_says_where_the_disk_was_full(s, own_mounts, many_chunks_to_read):
    """And leaves what is there already, but no file with less in it."""
    target = s.path("small")
    os.mkdir(target)
    script = ('mount -t tmpfs -o size=4m tmpfs "$0" && "$@"; status=$?; '
              'find "$0/out" -type f -printf "%P %s\\n"; exit $status')
    result = s.run("unshare", "--mount", "sh", "-c", script, target, PBSMAP, "extract", MANY, "one.pxar",
                   "--to", os.path.join(target, "out"), check=False)
    rows = s.pbsmap("ls", "-R", "--json", MANY, "one.pxar").json
    there = set(result.out.splitlines())
    assert result.status == FAILED and len(there) > 100
    assert there < {f"{row['path']} {row['size']}" for row in rows if row["type"] == "file"}
    line, = [row for row in result.err.splitlines() if row.startswith("pbsmap: ")]
    assert re.fullmatch(r"pbsmap: cannot write: No space left on device, while extracting d\d/d\d/d\d/file\d+", line)


def test_extract_says_that_a_tar_archive_was_not_kept(s, strace, files):
    """Some file systems say so when it is closed, and not before."""
    tar = s.path("tar")
    result = s.run("strace", "-q", "-o", s.path("calls"), "-P", tar, "-e", "inject=close:error=EDQUOT", PBSMAP, "extract",
                   SIGNED, "names.pxar", "--tar", tar, check=False,
                   env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"})
    assert result.status == FAILED
    assert result.err.splitlines()[-1] == "pbsmap: cannot write the archive: Disk quota exceeded"


@pytest.mark.directory
def test_what_cannot_be_written_is_no_wrong_command_line(s, root):
    device = pxar.special(0o020644, pxar.item(pxar.DEVICE, struct.pack("<QQ", 1 << 31, 1)))  # Linux has no such number
    archive = pxar.directory([(b"a", device), (b"z", pxar.plain(b"z"))], is_root=True)
    index, chunks = write_loose(s.path("loose"), "x.pxar.didx", archive), s.path("loose", ".chunks")
    assert "\na: cannot make it: " in s.fails(FAILED, "extract", index, "--chunks", chunks, "--to", s.path("out")).err
    assert os.listdir(s.path("out")) == ["z"]


@pytest.mark.directory
def test_damage_of_an_index_alone_is_told_by_its_name(s):
    index = write_loose(s.path("loose"), "x.pxar.didx", pxar.directory([(b"a", pxar.plain(b"a"))], is_root=True))
    shutil.rmtree(s.path("loose", ".chunks"))
    os.mkdir(s.path("loose", ".chunks"))
    result = s.fails(DAMAGED, "ls", index, "--chunks", s.path("loose", ".chunks"))
    assert "\nx.pxar: bytes 0 to " in result.err


@pytest.mark.directory
def test_extract_that_is_interrupted_leaves_no_file_with_less_in_it(s, many_chunks_to_read):
    """Its server does not answer for the middle of a large file."""
    stream = Stream(many_chunks_to_read, os.path.join(MANY, "one.pxar.didx"))
    target = s.path("out")
    with Pbsd({"store": many_chunks_to_read}, "--auth-delay=0") as server:
        rule = server.fault("ignore", path=f"chunk.digest={stream.digests[-300].hex()}")
        child = s.start(PBSMAP, "extract", "--repository", server.repository("store"), MANY, "one.pxar", "large/one",
                        "--to", target, env=server.env())
        assert wait_until(lambda: server.hits(rule) and os.path.isdir(os.path.join(target, "large")))
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == -signal.SIGINT
    assert os.listdir(os.path.join(target, "large")) == []


# -- damage ------------------------------------------------------------------------------------


def test_data_that_is_gone_leaves_the_rest(s, files):
    os.unlink(os.path.join(files, DATA_OF_NAMES))
    assert len(s.pbsmap("ls", SIGNED, "names.pxar").out.splitlines()) == 23
    assert "..." in s.fails(DAMAGED, "cat", SIGNED, "names.pxar", "...").err
    target = s.path("out")
    result = s.fails(DAMAGED, "extract", SIGNED, "names.pxar", "--to", target)
    assert "-dash: " in result.err and "new\\x0aline: " in result.err
    assert sorted(os.listdir(target)) == ["ordner-ä"]
    assert os.listdir(os.path.join(target, "ordner-ä", "ünter")) == []
    s.fails(DAMAGED, "extract", SIGNED, "names.pxar", "--tar", s.path("tar"))
    with tarfile.open(s.path("tar")) as tar:  # a whole one, without what is damaged
        assert tar.getnames() == [".", "ordner-ä", "ordner-ä/ünter"]


def test_entries_that_are_gone_are_said(s, files):
    with open(os.path.join(files, ENTRIES_OF_NAMES), "r+b") as chunk:
        chunk.seek(100)
        chunk.write(b"\xff")
    for command in (["ls"], ["extract", "--to", s.path("out")]):
        result = s.fails(DAMAGED, *command, SIGNED, "names.pxar")
        assert "names.pxar" in result.err


def mounted_without_data(s):
    """Where SIGNED's names can be seen, and what is in a file cannot."""
    target = s.path("mnt")
    s.pbsmap("mount", SIGNED, "names.pxar", target)
    assert len(os.listdir(target)) == 23
    with pytest.raises(OSError) as why:
        open(os.path.join(target, "ß"), "rb").read()
    assert why.value.errno == errno.EIO
    return target


def test_without_the_half_with_the_data_names_can_be_seen(s, root, files):
    whole = s.pbsmap("ls", "-R", SIGNED, "names.pxar").out
    os.unlink(os.path.join(files, SIGNED, "names.ppxar.didx"))
    result = s.pbsmap("ls", "-R", SIGNED, "names.pxar")
    assert result.out == whole
    assert "no file's data can be read" in result.err and "names.ppxar.didx" in result.err
    for command in (["cat"], ["extract", "--to", s.path("out")], ["extract", "--tar", s.path("tar")]):
        assert "payload is not there" in s.fails(DAMAGED, *command[:1], SIGNED, "names.pxar", "ß", *command[1:]).err
    s.pbsmap("umount", mounted_without_data(s))


def test_the_half_with_the_entries_is_needed(s, files):
    os.unlink(os.path.join(files, SIGNED, "names.mpxar.didx"))
    assert "names.mpxar.didx" in s.fails(DAMAGED, "ls", SIGNED, "names.pxar").err


# -- without a datastore -----------------------------------------------------------------------


def test_loose_index_files(s, files):
    want = s.pbsmap("ls", SIGNED, "names.pxar").out
    loose, chunks = s.path("loose"), ["--chunks", os.path.join(files, ".chunks")]
    del s.env["PBS_REPOSITORY"]
    shutil.copytree(os.path.join(files, SIGNED), loose)
    for name in ("names.mpxar.didx", "names.ppxar.didx"):
        assert s.pbsmap("ls", os.path.join(loose, name), *chunks).out == want
    os.unlink(os.path.join(loose, "index.json.blob"))
    result = s.pbsmap("ls", os.path.join(loose, "names.ppxar.didx"), *chunks)
    assert result.out == want and "nothing vouches for it" in result.err
    assert s.pbsmap("cat", os.path.join(loose, "names.mpxar.didx"), "...", *chunks).out
    os.unlink(os.path.join(loose, "names.ppxar.didx"))
    s.fails(NOT_FOUND, "ls", os.path.join(loose, "names.mpxar.didx"), *chunks)
    assert "is named *.pxar.didx" in s.fails(USAGE, "ls", os.path.join(loose, "names.didx"), *chunks).err


# -- as little as possible ---------------------------------------------------------------------


@pytest.mark.parametrize("snapshot,name,index", [(MANY, "one.pxar", "one.pxar.didx"),
                                                 (MANY_SPLIT, "split.pxar", "split.mpxar.didx")])
def test_ls_of_a_deep_path_needs_only_the_chunks_on_its_way(s, many_chunks, snapshot, name, index):
    """All others are taken away, so that it could not do with more; and a mount tells how many it took."""
    whole = s.pbsmap("ls", snapshot, name, "d5/d3/d7").out
    index = os.path.join(snapshot, index)
    needed = needed_for_listing(many_chunks, index, [b"d5", b"d3", b"d7"])
    digests = Stream(many_chunks, index).digests
    assert len(needed) < len(digests) / 2
    kept = {digests[n].hex() for n in needed}
    for directory, _, names in os.walk(os.path.join(many_chunks, ".chunks")):
        for chunk in set(names) - kept:
            os.unlink(os.path.join(directory, chunk))
    assert s.pbsmap("ls", snapshot, name, "d5/d3/d7").out == whole and names_of(whole)[0] == "file00001611"
    s.fails(DAMAGED, "ls", snapshot, name, "d1/d3/d7")


def test_a_deep_path_of_a_mount_fetches_only_the_chunks_on_its_way(s, root, many_chunks_to_read):
    """Of one stream: a split one has all its entries looked at for the link counts."""
    needed = needed_for_listing(many_chunks_to_read, os.path.join(MANY, "one.pxar.didx"), [b"d5", b"d3", b"d7"])
    target = s.path("mnt")
    s.pbsmap("mount", MANY, "one.pxar", target)
    assert len(s.run("ls", "-l", os.path.join(target, "d5/d3/d7")).out.splitlines()) == 4
    assert s.mapping(target)["fetched_chunks"] <= len(needed)
    s.pbsmap("umount", target)


def test_entries_that_are_gone_hide_no_others_of_a_mount(s, root, many_chunks):
    """Although all of them were to be gone through for the link counts."""
    stream = Stream(many_chunks, os.path.join(MANY_SPLIT, "split.mpxar.didx"))
    digest = stream.digests[len(stream.digests) // 2].hex()
    os.unlink(os.path.join(many_chunks, ".chunks", digest[:4], digest))
    target = s.path("mnt")
    result = s.pbsmap("mount", MANY_SPLIT, "split.mpxar", target)
    assert "link counts are of the names that were met" in result.err
    assert len(os.listdir(target)) == 11
    assert len(os.listdir(os.path.join(target, "d0/d0/d0"))) == 3
    s.pbsmap("umount", target)
    s.fails(DAMAGED, "mount", "--exact-links", MANY_SPLIT, "split.mpxar", target)


def test_no_secret_stays_in_the_environment(s, many_chunks_to_read):
    reader = s.start(PBSMAP, "cat", MANY, "one.pxar", "large/one", stdout=subprocess.PIPE,
                     env={"PBS_ENCRYPTION_PASSWORD": "not-needed"})
    assert reader.stdout.read(1)
    with open(f"/proc/{reader.pid}/environ", "rb") as text:
        assert b"not-needed" not in text.read()
    reader.stdout.close()
    assert reader.wait(20) in (1, -signal.SIGPIPE)


def test_what_the_kernel_keeps_of_directories_is_not_fetched_again(s, root, many_chunks_to_read):
    """Without read-ahead, of which some may be on its way when the first look is over."""
    target = s.path("mnt")
    s.pbsmap("mount", "--cache", "1M", "--read-ahead", "0", MANY, "one.pxar", target)
    names = s.run("find", target, "-ls").out
    fetched = s.mapping(target)["fetched_chunks"]
    assert s.run("find", target, "-ls").out == names and names.count("\n") == 3000 + 1110 + 4
    assert s.mapping(target)["fetched_chunks"] == fetched
    s.pbsmap("umount", target)
