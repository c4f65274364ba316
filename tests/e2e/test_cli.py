# SPDX-License-Identifier: Apache-2.0
"""The command line itself."""
import re

import pytest

from harness import PBSMAP, USAGE

COMMANDS = ["map", "serve", "unmap", "list", "namespaces", "groups", "snapshots", "files"]


def test_the_program_alone_is_a_short_help_and_exit_2(s):
    result = s.pbsmap(check=False)
    assert result.status == USAGE and result.out == ""
    assert all(command in result.err for command in COMMANDS)


def test_help_lists_what_exists_and_nothing_else(s):
    result = s.pbsmap("--help")
    assert result.err == ""
    assert all(re.search(rf"^\s*{command}\b", result.out, re.M) for command in COMMANDS)
    for later in ("inspect", "diff", "--overlay"):
        assert later not in result.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each(s, command):
    result = s.pbsmap(command, "--help")
    assert result.err == ""
    assert result.out.lower().startswith("usage:") and command in result.out
    assert s.pbsmap("help", command, check=False).status in (0, USAGE)


def test_help_of_map_warns_of_hostile_file_systems(s):
    assert "kernel" in s.pbsmap("map", "--help").out


def test_version(s):
    assert re.match(r"pbsmap \d+\.\d+", s.pbsmap("--version").out)


@pytest.mark.parametrize("words", [
    ["mpa"], ["--no-such-option"], ["map"], ["map", "vm/100"], ["list", "--keyfil", "x"], ["files"],
    ["map", "--cache"], ["map", "--cache", "lots", "vm/1", "x.img"], ["unmap", "--wait=soon", "1"],
    ["list", "too", "many"], ["unmap", "--overlay", "x"],
])
def test_usage_errors(s, words):
    result = s.pbsmap(*words, "--repository", s.path("nowhere"), check=False) if words[0] == "map" \
        else s.pbsmap(*words, check=False)
    assert result.status == USAGE, result
    assert result.out == "" and result.err


def test_errors_are_one_line(s):
    result = s.fails(3, "map", "--repository", s.path("nowhere"), "vm/100", "x.img")
    assert result.err.count("\n") == 1


def test_errors_in_json(s):
    error = s.fails(3, "snapshots", "--json", "--repository", s.path("nowhere")).json["error"]
    assert error["exit"] == 3 and s.path("nowhere") in error["message"]
    assert set(error) == {"exit", "message", "candidates", "holders"}


def test_control_characters_are_escaped(s):
    result = s.pbsmap("snapshots", "--repository", s.path("a\x1b[31mb\nc"), check=False)
    assert result.status != 0
    assert "\x1b" not in result.err and result.err.count("\n") == 1


def test_no_room_for_the_result_is_a_failure(s, golden):
    result = s.run("sh", "-c", '"$@" >/dev/full', "sh", PBSMAP, "snapshots", "--repository", golden.store, check=False)
    assert result.status == 1 and result.err
