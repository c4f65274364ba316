# SPDX-License-Identifier: Apache-2.0
"""The machine says what happened in it; these run outside of it."""
import os
import platform
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED, TIMEOUT, FAILED = 77, 124, 125


def start(*command, options=(), env=None):
    return subprocess.Popen([os.path.join(HERE, "run"), *options, "--", *command], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})


def end(process):
    with process:
        try:
            out, err = process.communicate(timeout=300)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def machine(*command, **more):
    return end(start(*command, **more))


@pytest.fixture(scope="module")
def started():
    done = machine("true")
    if done.returncode == SKIPPED:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


WORDS = "it's \"$HOME\" \\ ünï\n2"
SCRIPT = 'cat "$1/given"; uname -r; pwd; echo words >&2; echo "$MORE" >"$1/made"; echo x >"$2"; cat "$2" >&2; exit 7'


def test_a_command_finds_the_hosts_files_and_what_it_writes_is_gone(started, tmp_path):
    shared, lost = tmp_path / "shared", tmp_path / "lost"
    shared.mkdir()
    (shared / "given").write_text("from outside\n")
    done = machine("sh", "-c", SCRIPT, "sh", shared, lost, options=["--share", shared], env={"MORE": WORDS})
    assert done.returncode == 7, done
    given, version, directory = done.stdout.splitlines()
    assert (given, directory) == ("from outside", os.getcwd())
    assert version != platform.release() and version.endswith("-amd64")
    assert done.stderr == "words\nx\n"
    assert not lost.exists()
    assert (shared / "made").read_text() == WORDS + "\n"


def test_a_command_that_hangs_and_a_kernel_that_dies_are_told_from_others(started):
    hanging = start("sh", "-c", "echo begun; sleep 1000", options=["--timeout", "25"])
    try:
        died = machine("sh", "-c", "echo begun; sleep 1; echo c >/proc/sysrq-trigger; sleep 1000")
        # Whoever holds its output does not hold up the end.
        ended = machine("sh", "-c", "sleep 1000 & exit 3")
    finally:
        hung = end(hanging)
    assert (died.returncode, died.stdout) == (FAILED, "begun\n")
    assert "the machine failed" in died.stderr and "Kernel panic" in died.stderr
    assert ended.returncode == 3
    assert (hung.returncode, hung.stdout) == (TIMEOUT, "begun\n")
    assert "not done after 25 s" in hung.stderr


def test_without_qemu_it_says_so_and_ends_with_a_status_of_its_own():
    done = machine("true", env={"PATH": "/nowhere"})
    assert done.returncode == SKIPPED
    assert "qemu-system-x86_64 is not installed" in done.stderr
