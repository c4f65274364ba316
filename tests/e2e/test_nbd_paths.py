# SPDX-License-Identifier: Apache-2.0
"""Where the socket of an NBD server is: a client names it by a path that the kernel bounds, however it was made."""
import os

import pytest

from harness import USAGE, sha256_of
from test_nbd import SNAPSHOT, need, serve

LONGEST = 107  # bytes; unix(7)


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi1.img")


def path_of(length):
    """Of a file that is not there, straight in /tmp: it goes with the server."""
    path = f"/tmp/pbsmap-{os.getpid()}-"
    return path + "s" * (length - len(path))


@pytest.mark.parametrize("words", [["serve", "--socket"], ["map", "--via", "socket"]], ids=lambda words: words[0])
def test_one_that_no_client_can_name_is_refused_before_anything_is_looked_for(s, words):
    path = path_of(LONGEST + 1)
    backup = ["--repository", s.path("nowhere"), SNAPSHOT, "x.img"]
    result = s.fails(USAGE, *words, *([path, *backup] if words[0] == "serve" else [*backup, path]))
    assert f"at most {LONGEST} bytes" in result.err and path in result.err and "nowhere" not in result.err
    assert not os.path.exists(path)


def test_the_longest_one(s, image):
    need("nbdcopy")
    path = path_of(LONGEST)
    uri = s.map("--via", "socket", *image.arguments(), path)
    s.run("nbdcopy", uri, s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    s.pbsmap("unmap", path)
    assert not os.path.exists(path)


def test_a_relative_one_in_a_directory_of_a_long_path(s, image):
    """The URI is good where it was asked for; the mapping has the path in full."""
    need("nbdcopy")
    directory = s.path("d" * 120)
    os.mkdir(directory)
    _, uri = serve(s, "--socket", "sock", *image.arguments(), cwd=directory)
    assert uri == f"nbd+unix:///{image.archive}?socket=sock"
    s.run("nbdcopy", uri, s.path("copy"), cwd=directory)
    assert sha256_of(s.path("copy")) == image.sha256
    s.pbsmap("unmap", os.path.join(directory, "sock"))
    assert os.listdir(directory) == []
