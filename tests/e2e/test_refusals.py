# SPDX-License-Identifier: Apache-2.0
"""What does not exist or cannot be shown is refused with the right status, and what there is instead."""
import os

import pytest

from harness import FAILED, NOT_FOUND, REFUSED, USAGE, sha256_of, wait_until

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"


@pytest.fixture
def at(golden):
    return ["--repository", golden.store]


def candidates(s, *arguments):
    """The refusal in JSON, and in words: both name what there is."""
    result = s.fails(NOT_FOUND, *arguments)
    error = s.fails(NOT_FOUND, *arguments, "--json").json["error"]
    assert error["exit"] == NOT_FOUND
    assert error["message"]
    return result.err, error["candidates"]


def test_unknown_archive(s, at):
    words, found = candidates(s, "map", *at, SNAPSHOT, "drive-scsi9.img")
    assert {"drive-scsi0.img", "drive-scsi1.img"} <= set(found)
    assert "drive-scsi1.img" in words and "drive-scsi9.img" in words


def test_unknown_snapshot(s, at):
    words, found = candidates(s, "map", *at, "vm/100/2031-01-01T00:00:00Z", "drive-scsi0.img")
    assert SNAPSHOT in found
    assert SNAPSHOT in words


def test_unknown_group(s, at):
    words, found = candidates(s, "map", *at, "vm/999", "drive-scsi0.img")
    assert "vm/100" in found
    assert "vm/100" in words


def test_unknown_namespace(s, at):
    words, found = candidates(s, "map", *at, "--ns", "a/c", "vm/100", "drive-scsi0.img")
    assert "a/b" in found
    assert "a/c" in words


def test_unknown_datastore(s):
    result = s.fails(NOT_FOUND, "map", "--repository", s.path("nowhere"), SNAPSHOT, "drive-scsi0.img")
    assert s.path("nowhere") in result.err


def test_a_directory_that_is_no_datastore(s):
    os.mkdir(s.path("empty"))
    result = s.pbsmap("snapshots", "--repository", s.path("empty"), check=False)
    assert result.status in (FAILED, NOT_FOUND) and s.path("empty") in result.err


def test_no_repository_says_which_variable(s):
    result = s.pbsmap("snapshots", check=False)
    assert result.status in (FAILED, USAGE)
    assert "PBS_REPOSITORY" in result.err and "sudo" in result.err


@pytest.mark.parametrize("text, words", [
    ("u@pam:store", "'u' is no user"), ("host_a:1:store", "'host_a' is no name or address of a server"),
    ("host:99999:store", "'99999' is no port"), ("host:dir/store", "'dir/store' is no name of a datastore"),
    ("dir/store", "a directory is written /path or ./path"),
])
def test_a_repository_that_is_none_says_which_part(s, text, words):
    assert words in s.fails(USAGE, "snapshots", "--repository", text).err
    assert words in s.fails(USAGE, "snapshots", env={"PBS_REPOSITORY": text}).err


def test_parts_of_a_repository_need_a_datastore(s):
    result = s.fails(USAGE, "snapshots", env={"PBS_SERVER": "pbs.example.com"})
    assert "PBS_SERVER" in result.err and "PBS_DATASTORE" in result.err


def test_an_api_token_without_its_secret_is_refused(s):
    result = s.fails(REFUSED, "snapshots", "--repository", "root@pam!t@localhost:1:store",
                     env={"PBS_PASSWORD": ""})
    assert "API token secret must be provided" in result.err and "PBS_PASSWORD" in result.err


@pytest.mark.parametrize("options, env", [(["--fingerprint", "11:22"], {}), ([], {"PBS_FINGERPRINT": "11:22"})])
def test_a_fingerprint_that_is_none_says_where_it_is_from(s, options, env):
    result = s.fails(USAGE, "snapshots", "--repository", "localhost:1:store", *options, env=env)
    assert ("--fingerprint" if options else "PBS_FINGERPRINT") in result.err


def test_the_repository_may_come_from_the_environment(s, golden):
    assert SNAPSHOT in s.pbsmap("snapshots", env={"PBS_REPOSITORY": golden.store}).out


def test_the_namespace_may_come_from_the_environment(s, at):
    assert "2024-06-02T00:00:07Z" in s.pbsmap("snapshots", *at, env={"PBS_NAMESPACE": "a/b"}).out


@pytest.mark.parametrize("words", [
    ["map", "vm/100/yesterday", "drive-scsi0.img"],
    ["map", "../vm/100", "drive-scsi0.img"],
    ["map", "vm/100/2024-06-31T00:00:00Z", "drive-scsi0.img"],
    ["map", SNAPSHOT, "../../escape.img"],
    ["map", "--ns", "a//b", SNAPSHOT, "drive-scsi0.img"],
    ["map", "--ns", "../a", SNAPSHOT, "drive-scsi0.img"],
])
def test_a_word_that_cannot_be_a_name(s, at, words):
    result = s.pbsmap(*words, *at, check=False)
    assert result.status in (FAILED, USAGE, NOT_FOUND), result
    assert result.out == ""


def test_a_group_is_its_newest_finished_snapshot_and_says_which(s, golden, store):
    s.run("mkdir", os.path.join(store, "vm/100/2030-01-01T00:00:00Z"))
    path = s.path("image")
    result = s.pbsmap("map", "--via", "file", "--repository", store, "vm/100", "drive-scsi1.img", path)
    assert SNAPSHOT in result.err
    assert sha256_of(path) == golden.image(SNAPSHOT, "drive-scsi1.img").sha256


def test_an_unfinished_snapshot_is_refused_with_the_reason(s, store):
    os.unlink(os.path.join(store, SNAPSHOT, "index.json.blob"))
    result = s.pbsmap("map", "--repository", store, SNAPSHOT, "drive-scsi0.img", check=False)
    assert result.status not in (0, USAGE), result
    assert "finished" in result.err


def test_a_snapshot_that_is_being_removed_is_refused(s, store):
    lock = s.start("flock", "--no-fork", "--exclusive", os.path.join(store, SNAPSHOT), "sleep", "300")
    probe = ["flock", "--shared", "--nonblock", os.path.join(store, SNAPSHOT), "true"]
    assert wait_until(lambda: s.run(*probe, check=False).status != 0)
    result = s.pbsmap("map", "--repository", store, SNAPSHOT, "drive-scsi0.img", check=False)
    assert result.status not in (0, USAGE), result
    assert "lock" in result.err
    lock.kill()


def test_a_mapped_snapshot_cannot_be_removed_meanwhile(s, store):
    path = s.path("image")
    s.map("--via", "file", "--repository", store, SNAPSHOT, "drive-scsi1.img", path)
    probe = ["flock", "--exclusive", "--nonblock", os.path.join(store, SNAPSHOT), "true"]
    assert s.run(*probe, check=False).status != 0
    s.pbsmap("unmap", path)
    assert s.run(*probe).status == 0


def test_archives_that_are_no_images(s, at, golden):
    conf = s.pbsmap("map", *at, SNAPSHOT, "qemu-server.conf", check=False)
    assert conf.status != 0 and "drive-scsi0.img" in conf.err, conf


def test_a_file_archive_names_mount(s, store):
    result = s.pbsmap("map", "--repository", store, SNAPSHOT, "root.pxar", check=False)
    assert result.status != 0 and "mount" in result.err, result


def test_names_as_the_reference_client_takes_them(s, at, golden):
    path = s.path("image")
    s.map("--via", "file", *at, SNAPSHOT, "drive-scsi1.img.fidx", path)
    assert sha256_of(path) == golden.image(SNAPSHOT, "drive-scsi1.img").sha256


def test_via_something_unknown(s, at):
    s.fails(USAGE, "map", *at, "--via", "pigeon", SNAPSHOT, "drive-scsi0.img")


def test_via_file_needs_a_path(s, at):
    s.fails(USAGE, "map", *at, "--via", "file", SNAPSHOT, "drive-scsi0.img")


def test_the_snapshot_of_another_place_is_not_taken(s, store):
    """The manifest says which snapshot it is; a directory with another name is a lie."""
    s.run("mv", os.path.join(store, SNAPSHOT), os.path.join(store, "vm/100/2024-06-04T00:00:00Z"))
    result = s.pbsmap("map", "--repository", store, "vm/100/2024-06-04T00:00:00Z", "drive-scsi0.img", check=False)
    assert result.status not in (0, USAGE, REFUSED), result
    assert SNAPSHOT in result.err
