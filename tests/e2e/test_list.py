# SPDX-License-Identifier: Apache-2.0
"""What there is: namespaces, groups, snapshots, files, mappings; for people and as JSON."""
import fcntl
import os
import re
import shutil

import pytest

from golden import SETS
from harness import DAMAGED, NOT_FOUND, PBSMAP, REFUSED, open_fd
from test_damage import spoil

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
OLDER = "vm/100/2024-06-01T00:00:00Z"


@pytest.fixture
def at(golden):
    return ["--repository", golden.store]


def snapshots_of(ns):
    wanted = ns or "-"
    return sorted({row["snapshot"] for row in SETS[0].archives if row["ns"] == wanted})


def namespaces_of():
    found = {row["ns"] for row in SETS[0].archives} - {"-"}
    return {"/".join(ns.split("/")[:n + 1]) for ns in found for n in range(ns.count("/") + 1)}


def test_namespaces(s, at):
    lines = s.pbsmap("namespaces", *at).out.split()
    assert namespaces_of() <= set(lines)


@pytest.mark.parametrize("ns", ["", "a/b"])
def test_groups(s, at, ns):
    out = s.pbsmap("groups", *at, *(["--ns", ns] if ns else [])).out
    expected = {snapshot.rpartition("/")[0] for snapshot in snapshots_of(ns)}
    assert set(re.findall(r"(?:vm|ct|host)/[A-Za-z0-9._-]+(?![A-Za-z0-9._/-])", out)) == expected


@pytest.mark.parametrize("ns", ["", "a/b"])
def test_snapshots(s, at, ns):
    out = s.pbsmap("snapshots", *at, *(["--ns", ns] if ns else [])).out
    assert sorted(re.findall(r"\S+/\S+/\d{4}-\d\d-\d\dT[\d:]+Z", out)) == snapshots_of(ns)


def test_snapshots_of_one_group(s, at):
    out = s.pbsmap("snapshots", *at, "vm/100").out
    expected = [snapshot for snapshot in snapshots_of("") if snapshot.startswith("vm/100/")]
    assert sorted(re.findall(r"\S+/\S+/\S+Z", out)) == expected


def test_a_locked_snapshot_is_listed_like_any_other(s, store):
    # Removed or written just now: whoever only looks needs no lock, and takes none away from anybody.
    commands = [["snapshots", "vm/100", "--json"], ["files", SNAPSHOT, "--json"]]
    before = [s.pbsmap(*command, "--repository", store).json for command in commands]
    with open_fd(os.path.join(store, SNAPSHOT)) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert [s.pbsmap(*command, "--repository", store).json for command in commands] == before
    assert all(row["size"] for row in before[0])


SERVER = """
mount -t tmpfs none /run
mount -t tmpfs none /etc
mkdir /run/proxmox-backup /etc/proxmox-backup
printf 'datastore: main\\n\\tpath %s\\n\\tmaintenance-mode offline,message=moving\\n' "$1" >/etc/proxmox-backup/datastore.cfg
shift
status=0; "$@" || status=$?
find /run/proxmox-backup -mindepth 1
exit $status
"""


@pytest.mark.directory
def test_on_a_servers_host(s, own_mounts, store):
    """It is said that the server refuses reads; a list leaves no lock file, a mapping does."""
    on_server = ["unshare", "--mount", "sh", "-euc", SERVER, "sh", store, PBSMAP]
    for command in (["snapshots"], ["groups"], ["files", SNAPSHOT]):
        result = s.run(*on_server, *command, "--repository", store)
        assert "datastore main in maintenance mode 'offline'" in result.err
        assert "proxmox-backup" not in result.out
    result = s.run(*on_server, "map", "--repository", store, SNAPSHOT, "no-such.img", check=False)
    assert result.status == NOT_FOUND
    assert "datastore main in maintenance mode 'offline'" in result.err
    assert r"/locks/main/vm-100-2024\x2d06\x2d03T00\x3a00\x3a00Z" in result.out


# -- what cannot be read ---------------------------------------------------------------------------


def as_nobody(s):
    """The program without any rights."""
    os.chmod(os.path.dirname(s.directory), 0o755)
    program = shutil.copy(PBSMAP, s.path("pbsmap"))
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all", program]


@pytest.mark.directory
@pytest.mark.parametrize("closed", ["ns", "ns/a/ns"])
def test_namespaces_that_may_not_be_looked_at_are_refused(s, root, store, closed):
    command = [*as_nobody(s), "namespaces", "--repository", store]
    s.run(*command)
    os.chmod(os.path.join(store, closed), 0)
    result = s.run(*command, check=False)
    assert (result.status, result.out) == (REFUSED, "")
    assert "cannot open ns: Permission denied" in result.err and store in result.err


@pytest.mark.directory
@pytest.mark.parametrize("closed", ["vm", "vm/100", SNAPSHOT])
def test_what_may_not_be_looked_at_is_said_and_the_rest_listed(s, root, store, closed):
    nobody, at = as_nobody(s), ["--json", "--repository", store]
    before = {name: s.run(*nobody, name, *at).json for name in ("groups", "snapshots")}
    os.chmod(os.path.join(store, closed), 0)
    said = {name: s.run(*nobody, name, *at, check=False) for name in before}
    for result in said.values():
        assert result.status == REFUSED, result
        assert result.err.count("\n") == 1, result
        assert f"cannot open {os.path.basename(closed)}: Permission denied, while reading " in result.err
    expect_listed_but(before, {name: result.json for name, result in said.items()}, closed)
    table = s.run(*nobody, "snapshots", *at[1:], check=False)
    assert table.status == REFUSED and "host/plain/" in table.out
    assert bool(re.search(f"{SNAPSHOT} +- +not readable", table.out)) == (closed == SNAPSHOT)


def expect_listed_but(before, after, closed):
    """All that was there before; of what is inside @closed, or has it inside, no more than the name."""
    def is_touched(name):
        return f"{name}/".startswith(f"{closed}/") or f"{closed}/".startswith(f"{name}/")

    for key, rows in (("group", after["groups"]), ("snapshot", after["snapshots"])):
        whole = [row for row in before[f"{key}s"] if not is_touched(row[key])]
        assert whole and [row for row in rows if not is_touched(row[key])] == whole
    touched = {row["group"]: row for row in after["groups"] if is_touched(row["group"])}
    assert set(touched) == ({"vm/100"} if closed != "vm" else set())
    for row in touched.values():
        assert row["last-snapshot"] is row["last-backup"] is row["backup-count"] is None
    touched = {row["snapshot"]: row for row in after["snapshots"] if is_touched(row["snapshot"])}
    assert set(touched) == ({closed} if closed.count("/") == 2 else set())
    for row in touched.values():
        assert row["finished"] is row["protected"] is row["size"] is None and row["files"] == []


def on_a_dying_disk(s, name, *words):
    """Whatever is opened by this name cannot be."""
    return s.traced(["-P", name, "-e", "inject=openat:error=EIO"], *words, check=False)


@pytest.mark.directory
@pytest.mark.parametrize("broken", ["vm", "vm/100", OLDER])
def test_a_dying_disk_hides_nothing_else(s, strace, store, broken):
    os.rename(os.path.join(store, SNAPSHOT), os.path.join(store, OLDER))  # a time that no other snapshot has
    name, at = os.path.basename(broken), ["--json", "--repository", store]
    before = {command: s.pbsmap(command, *at).json for command in ("groups", "snapshots")}
    said = {command: on_a_dying_disk(s, name, command, *at) for command in before}
    for result in said.values():
        assert result.status == DAMAGED, result
        assert result.err.count("\n") == 1, result
        assert f"cannot open {name}: Input/output error, while reading " in result.err
    expect_listed_but(before, {command: result.json for command, result in said.items()}, broken)


@pytest.mark.directory
def test_snapshots_whose_manifests_a_dying_disk_lost_are_listed(s, strace, store):
    at = ["--json", "--repository", store]
    before = {command: s.pbsmap(command, *at).json for command in ("groups", "snapshots")}
    result = on_a_dying_disk(s, "index.json.blob", "snapshots", *at)
    assert result.status == DAMAGED, result
    names = [row["snapshot"] for row in before["snapshots"]]
    assert [row["snapshot"] for row in result.json] == names
    assert all(row["finished"] and row["size"] is None for row in result.json)
    for line, name in zip(result.err.splitlines(), names, strict=True):
        assert line == f"cannot open index.json.blob: Input/output error, while reading the manifest of {name}"
    assert on_a_dying_disk(s, "index.json.blob", "groups", *at).json == before["groups"]


def spoil_manifest(store):
    path = os.path.join(store, SNAPSHOT, "index.json.blob")
    spoil(path, os.path.getsize(path) - 1)


def test_a_damaged_manifest_costs_no_more_than_its_own_row(s, store):
    at = ["--repository", store]
    before = s.pbsmap("snapshots", "--json", *at).json
    spoil_manifest(store)
    result = s.pbsmap("snapshots", "--json", *at, check=False)
    assert result.status == DAMAGED, result
    assert result.err.count("\n") == 1 and f"while reading the manifest of {SNAPSHOT}" in result.err
    assert [row for row in result.json if row["snapshot"] != SNAPSHOT] == \
        [row for row in before if row["snapshot"] != SNAPSHOT]
    row = next(row for row in result.json if row["snapshot"] == SNAPSHOT)
    assert row["finished"] is True and row["size"] is None and row["files"]
    table = s.pbsmap("snapshots", *at, check=False)
    assert table.status == DAMAGED and re.search(f"{SNAPSHOT} +- +manifest not readable", table.out)


def test_no_older_snapshot_stands_for_one_whose_manifest_is_damaged(s, store):
    """Of a backup server too, which lists such a one as if it were not finished."""
    at = ["--repository", store]
    s.run("cp", "-a", os.path.join(store, SNAPSHOT), os.path.join(store, OLDER))
    assert f"snapshot {SNAPSHOT}\n" in s.pbsmap("files", "vm/100", *at).err
    spoil_manifest(store)
    for command in (["files", "vm/100"], ["map", "--via", "file", "vm/100", "drive-scsi1.img", s.path("image")]):
        result = s.fails(DAMAGED, *command, *at)
        assert f"snapshot {SNAPSHOT}\n" in result.err and OLDER not in result.err
    last = {row["group"]: row["last-snapshot"] for row in s.pbsmap("groups", "--json", *at).json}
    assert last["vm/100"] == SNAPSHOT
    os.unlink(os.path.join(store, SNAPSHOT, "index.json.blob"))
    assert f"skipped {SNAPSHOT}: it is not finished\n" in s.pbsmap("files", "vm/100", *at).err


# --------------------------------------------------------------------------------------------------


def test_files(s, at):
    out = s.pbsmap("files", *at, SNAPSHOT).out
    for row in SETS[0].archives:
        if row["ns"] == "-" and row["snapshot"] == SNAPSHOT:
            assert row["server-file"].rpartition(".")[0] in out


@pytest.mark.parametrize("command", [["namespaces"], ["groups"], ["snapshots"], ["files", SNAPSHOT]])
def test_json_is_one_document_and_no_less_than_the_table(s, at, command):
    rows = s.pbsmap(*command, *at, "--json").json
    assert isinstance(rows, list) and rows
    assert len(rows) == len(s.pbsmap(*command, *at, "--json").json)


def test_habits_of_the_reference_client(s, at):
    expected = s.pbsmap("snapshots", *at, "--json").json
    assert s.pbsmap("snapshot", "list", *at, "--output-format", "json").json == expected
    assert s.pbsmap("snapshot", "files", SNAPSHOT, *at, "--output-format=json").json == \
        s.pbsmap("files", SNAPSHOT, *at, "--json").json


MAP_KEYS = {"name", "device", "uri", "via", "snapshot", "archive", "size", "partitions", "mount_options"}
LIST_KEYS = {"name", "device", "uri", "via", "repository", "ns", "snapshot", "archive", "size", "pid", "state", "since",
             "read_bytes", "fetched_bytes", "fetched_chunks", "cache_hits", "damaged_chunks", "holders", "lost"}


def test_map_and_list_as_json(s, loop, golden):
    image = golden.image("vm/100/2024-06-02T00:00:07Z", "drive-scsi0.img", ns="a/b")
    mapped = s.pbsmap("map", "--json", *image.arguments(), env=image.env()).json
    assert set(mapped) == MAP_KEYS
    assert (mapped["via"], mapped["snapshot"], mapped["archive"], mapped["size"], mapped["partitions"]) == \
        ("loop", image.snapshot, image.archive, image.size, [])
    with open(mapped["device"], "rb") as device:
        device.read(1 << 20)
    rows = s.list()
    assert len(rows) == 1 and set(rows[0]) == LIST_KEYS
    row = rows[0]
    assert {key: row[key] for key in MAP_KEYS & LIST_KEYS} == {key: mapped[key] for key in MAP_KEYS & LIST_KEYS}
    assert (row["repository"], row["ns"]) == (s.repository(golden.store), "a/b")
    assert os.path.exists(f"/proc/{row['pid']}")
    assert row["read_bytes"] >= 1 << 20
    assert row["fetched_chunks"] >= 1 and row["fetched_bytes"] > 0
    assert row["damaged_chunks"] == 0 and row["holders"] == []
    s.pbsmap("unmap", mapped["device"])


def test_list_for_people(s, golden):
    image = golden.image(SNAPSHOT, "drive-scsi1.img")
    path = s.map("--via", "file", *image.arguments(), s.path("image"))
    out = s.pbsmap("list").out
    assert path in out and SNAPSHOT in out


def test_every_process_is_looked_at_once_for_all_mappings(s, strace, golden):
    """Each row has its own users nevertheless."""
    paths = [s.map("--via", "file", *golden.image(SNAPSHOT, "drive-scsi1.img").arguments(), s.path(f"image{i}"))
             for i in range(3)]
    with open_fd(paths[1]):
        rows = {row["device"]: row["holders"] for row in s.list()}
        s.traced(["-e", "trace=openat"], "list")
    assert [len(rows[path]) for path in paths] == [0, 1, 0] and f"process {os.getpid()} (" in rows[paths[1]][0]
    with open(s.path("calls"), encoding="utf-8") as calls:
        assert calls.read().count(f'"/proc/{os.getpid()}/fd"') == 1


def test_list_with_nothing_mapped(s):
    assert s.list() == []


def test_a_closed_pipe_is_no_news(s, at):
    result = s.run("sh", "-c", '"$@" | true', "sh", PBSMAP, "snapshots", *at)
    assert result.err == ""
