# SPDX-License-Identifier: Apache-2.0
"""A server that gives something else than the chunk it was asked for, or breaks the protocol while it does."""
import time

import pytest

from harness import FAILED, wait_until
from remote import ARCHIVE, CHUNK, LATE, SNAPSHOT, Disk, Read, is_found, map_at

GOOD, BAD, OTHER = 19, 20, 60  # chunks


@pytest.fixture
def disk(s, mkstore):
    return Disk(s)


@pytest.fixture
def pbs(disk, request):
    with disk.served(f"--version={getattr(request, 'param', 4)}") as started:
        yield started


both_versions = pytest.mark.parametrize("pbs", [3, 4], ids=["3.x", "4.x"], indirect=True)


SPOILT = {
    "flip": {"how": "flip"},
    "flip-header": {"how": "flip", "off": 0},
    "truncate": {"how": "truncate"},
    "truncate-header": {"how": "truncate", "n": CHUNK + 5},
    "truncate-all": {"how": "truncate", "n": CHUNK + 12},
    "extend": {"how": "extend"},
    "extend-far": {"how": "extend", "n": 8 << 20},
    "replace": {"how": "replace", "text": "no chunk at all"},
    "another": {"how": "replace"},
}


def fails_until_it_is_right(disk, pbs, path, n):
    """Only this chunk fails, and only as long as the server spoils it."""
    assert Read(path, n).end().errno == 5
    Read(path, n + 1).brings(disk)
    pbs.control("clear")
    Read(path, n).brings(disk)


@both_versions
def test_a_chunk_that_is_another_one_is_damage_until_it_is_right(s, disk, pbs):
    path = map_at(s, pbs)
    for i, (name, words) in enumerate(SPOILT.items()):
        n = 10 + 2 * i
        more = {"digest": disk.digest(OTHER)} if name == "another" else {}
        pbs.fault("alter", path=disk.path_of(n), times=0, **words, **more)
        print(name)
        fails_until_it_is_right(disk, pbs, path, n)
        assert s.mapping(path)["damaged_chunks"] == i + 1, name
    assert pbs.counters()["sessions"] == 1
    s.pbsmap("unmap", path)


def test_an_answer_that_is_not_as_long_as_it_says_is_asked_for_again(s, disk, pbs):
    """HTTP/2 forbids it: it is the connection's mistake, and the next answer may be whole."""
    path = map_at(s, pbs)
    for i, how in enumerate(["truncate", "extend"]):
        rule = pbs.fault("alter", path=disk.path_of(20 + i), keep_length=True, how=how)
        assert Read(path, 20 + i).brings(disk).seconds < LATE, "nobody was in a hurry"
        assert pbs.hits(rule) == 1
    pbs.fault("alter", path=disk.path_of(40), keep_length=True, times=0, how="truncate")
    fails_until_it_is_right(disk, pbs, path, 40)


@both_versions
def test_another_status_than_200_fails_what_asked_and_no_more(s, disk, pbs):
    path = map_at(s, pbs)
    for i, status in enumerate([204, 206, 302, 400, 401, 403, 404, 500, 503]):
        n = 10 + 2 * i
        pbs.fault("answer", path=disk.path_of(n), times=0, status=status,
                     text="" if status == 204 else f"reading file failed: status {status}")
        print(status)
        fails_until_it_is_right(disk, pbs, path, n)
    assert pbs.counters()["sessions"] == 1
    row = s.mapping(path)
    assert (row["state"], row["lost"]) == ("ready", None)


def test_a_refusal_without_an_end_is_not_read_to_it(s, disk, pbs):
    path = map_at(s, pbs, "--cache", "0")
    pbs.fault("answer", path=disk.path_of(BAD), status=400, text="no ", repeat=64 << 20)
    assert Read(path, BAD).end().errno == 5
    Read(path, BAD).brings(disk)


@pytest.mark.parametrize("code", [7, 8, 0, 2, 11], ids=["refused", "cancel", "no-error", "internal", "calm"])
def test_a_reset_stream_is_asked_for_again(s, disk, pbs, code):
    path = map_at(s, pbs)
    rule = pbs.fault("reset", path=disk.path_of(BAD), code=code, times=2)
    Read(path, BAD).brings(disk)
    assert pbs.hits(rule) == 2
    assert pbs.counters()["sessions"] == 1
    assert s.mapping(path)["damaged_chunks"] == 0


def test_a_stream_that_is_reset_for_ever_is_an_error(s, disk, pbs):
    path = map_at(s, pbs)
    rule = pbs.fault("reset", path=disk.path_of(BAD), code=8, times=0)
    read = Read(path, BAD).end()
    assert read.errno == 5
    assert 2 <= pbs.hits(rule) < 10
    Read(path, GOOD).brings(disk)
    pbs.control("clear")
    Read(path, BAD).brings(disk)


def test_streams_that_are_refused_for_ever_are_an_error_in_time(s, disk, pbs):
    """REFUSED_STREAM: the server has not looked at it, so there is no end to asking; but not all the time."""
    path = map_at(s, pbs, "--timeout", "2")
    rule = pbs.fault("reset", path="/chunk", code=7, times=0)
    Read(path, BAD).fails_at(2)
    assert pbs.hits(rule) < 100
    pbs.control("clear")
    Read(path, BAD).brings(disk)


@both_versions
@pytest.mark.parametrize("code", [0, 11], ids=["graceful", "calm"])
def test_goaway_moves_on_to_a_new_connection(s, disk, pbs, code):
    path = map_at(s, pbs)
    pbs.fault("goaway", path=disk.path_of(BAD), code=code)
    reads = [Read(path, n) for n in (BAD, *range(32, 48))]
    for read in reads:
        read.brings(disk)
    assert wait_until(lambda: pbs.counters()["sessions"] == 2)
    is_found(s, path)


@both_versions
def test_goaway_disowns_what_was_asked_last(s, disk, pbs):
    path = map_at(s, pbs)
    pbs.fault("goaway", path=disk.path_of(BAD), last=1)
    Read(path, BAD).brings(disk)
    assert pbs.counters()["sessions"] == 2
    is_found(s, path)


def test_goaway_of_an_idle_connection(s, disk, pbs):
    path = map_at(s, pbs)
    Read(path, BAD).brings(disk)
    pbs.fault("goaway", at="now")
    assert wait_until(lambda: pbs.counters()["sessions"] == 2)
    Read(path, OTHER).brings(disk)
    is_found(s, path)


RAW = {
    "garbage": {"text": "this is no frame of HTTP/2, whatever it is", "repeat": 10},
    "zeros": {"hex": "00", "repeat": 4096},
    "huge-frame": {"hex": "ffffff000000000001" + "00" * 64},
    "push": {"hex": "000008050400000001" + "00" * 8},
    "settings-on-a-stream": {"hex": "000000040000000001"},
    "headers-of-nobody": {"hex": "0000010105000000ff88"},
    "window-overflow": {"hex": "00000408000000000" + "07fffffff"},
}


@pytest.mark.parametrize("what", RAW)
def test_frames_that_break_the_rules_end_the_connection(s, disk, pbs, what):
    path = map_at(s, pbs)
    rule = pbs.fault("raw", path=disk.path_of(BAD), **RAW[what])
    for read in [Read(path, n) for n in (BAD, 32, 33)]:
        read.brings(disk)
    assert pbs.hits(rule) == 1
    is_found(s, path)


def test_headers_longer_than_we_take(s, disk, pbs):
    path = map_at(s, pbs, "--timeout", "4")
    pbs.fault("answer", path=disk.path_of(BAD), header_bytes=1 << 20)
    Read(path, BAD).brings(disk)
    is_found(s, path)


def test_an_answer_that_never_comes_is_an_error_in_time(s, disk, pbs):
    path = map_at(s, pbs, "--timeout", "2")
    pbs.fault("ignore", path=disk.path_of(BAD), times=0)
    bad = Read(path, BAD)
    Read(path, GOOD).brings(disk)
    bad.fails_at(2)
    pbs.control("clear")
    assert wait_until(lambda: Read(path, BAD).end().data == disk.chunk(BAD))


def test_an_answer_that_is_late_holds_up_nobody_else(s, disk, pbs):
    path = map_at(s, pbs)
    pbs.fault("late", path=disk.path_of(BAD), seconds=3)
    late, other = Read(path, BAD), Read(path, GOOD)
    other.brings(disk)
    assert not late.is_over
    assert late.brings(disk).seconds > 2.5
    assert pbs.counters()["sessions"] == 1


def test_answers_that_are_cancelled_do_not_cost_the_connection(s, disk):
    """A 4.x server forgives 20 resets a second, of requests it has not looked at."""
    with disk.served("--version=4") as pbs:
        path = map_at(s, pbs, "--cache", "0")
        pbs.fault("answer", path="/chunk", status=200, text="x" * 4096, repeat=64 << 8, times=40)
        for n in range(8, 48):
            assert Read(path, n).end().errno == 5, n
        for read in [Read(path, n) for n in range(8, 48)]:
            read.brings(disk)
        assert s.mapping(path)["damaged_chunks"] == 40
        assert pbs.counters()["sessions"] == 1


def test_no_more_streams_than_a_4_x_server_takes(s, disk):
    with disk.served("--version=4", "--delay=20") as pbs:
        path = map_at(s, pbs)
        for read in [Read(path, n) for n in range(64)]:
            read.brings(disk)
        assert pbs.counters()["peak-streams"] <= 200
        assert pbs.counters()["sessions"] == 1


@pytest.mark.parametrize("via", ["loop", "file"])
def test_a_server_that_gives_no_chunk_at_all_is_told_before_there_is_a_device(s, disk, pbs, via, loop):
    """Within the time of one read, although a new device is read at several places."""
    pbs.fault("ignore", path="/chunk", times=0)
    start = time.monotonic()
    target = [s.path("image")] if via == "file" else []
    result = s.fails(FAILED, "map", "--repository", pbs.repository("store"), "--timeout", "2", "--via", via, SNAPSHOT,
                     ARCHIVE, *target, env=pbs.env())
    assert "no answer within the time limit" in result.err
    assert 2 <= time.monotonic() - start < 2 + LATE
    assert not s.list()
