# SPDX-License-Identifier: Apache-2.0
"""Who one is to a backup server, and whether it is the right one: from the environment, files and the terminal."""
import os
import socket

import pytest

from golden import SETS
from harness import FAILED, MIB, PBSMAP, REFUSED, sha256_of, with_terminal
from pbsd import PASSWORD, USER, Pbsd

SNAPSHOT, ARCHIVE = "vm/100/2024-06-03T00:00:00Z", "drive-scsi1.img"
CERTIFICATE, PROMPT = "continue connecting? (y/n): ", f'Password for "{USER}": '
# The certificate first: nobody types a password for a server that is not the right one.
BOTH = [(CERTIFICATE, "y\r"), (PROMPT, PASSWORD + "\r")]
SECRET = "s3 cr?t"


@pytest.fixture(scope="module")
def running(unpacked):
    if not SETS:
        pytest.skip("no golden datastore here")
    with Pbsd({"store": SETS[0].store}, "--auth-delay=0", f"--token=tok1={SECRET}") as pbs:
        yield pbs


@pytest.fixture
def pbs(running):
    running.control("clear")
    return running


@pytest.fixture
def at(pbs):
    return ["--repository", pbs.repository("store")]


@pytest.fixture
def runtime(s):
    """A runtime directory, which is where tickets are kept."""
    path = s.path("runtime")
    os.mkdir(path, 0o700)
    s.env["XDG_RUNTIME_DIR"] = path
    return path


def talk(s, *command, answers):
    command = [PBSMAP, *command]
    s.note(command)
    return with_terminal(command, s.env, answers, timeout=30)


def test_password_and_fingerprint_from_the_environment(s, pbs, at):
    assert SNAPSHOT in s.pbsmap("snapshots", *at, env=pbs.env()).out


def test_the_fingerprint_as_an_option(s, pbs, at):
    env = {"PBS_PASSWORD": PASSWORD, "PBS_FINGERPRINT": "00:" * 31 + "00"}
    assert SNAPSHOT in s.pbsmap("snapshots", *at, "--fingerprint", pbs.fingerprint, env=env).out


def test_a_repository_in_parts(s, pbs):
    env = {"PBS_SERVER": "127.0.0.1", "PBS_PORT": str(pbs.port), "PBS_AUTH_ID": USER, "PBS_DATASTORE": "store"}
    assert SNAPSHOT in s.pbsmap("snapshots", env={**pbs.env(), **env}).out


def test_an_api_token(s, pbs):
    at = ["--repository", pbs.repository("store", f"{USER}!tok1")]
    assert SNAPSHOT in s.pbsmap("snapshots", *at, env={**pbs.env(), "PBS_PASSWORD": SECRET}).out
    result = s.fails(REFUSED, "snapshots", *at, env={**pbs.env(), "PBS_PASSWORD": "not-this-one"})
    assert "not-this-one" not in result.err


def test_a_wrong_password_is_refused(s, pbs, at):
    result = s.fails(REFUSED, "snapshots", *at, env={**pbs.env(), "PBS_PASSWORD": "not-this-one"})
    assert "not-this-one" not in result.err and result.err.count("\n") == 1


def test_an_unknown_certificate_is_refused_and_can_be_pinned_by_what_was_said(s, pbs, at):
    result = s.fails(REFUSED, "snapshots", *at, env={"PBS_PASSWORD": PASSWORD}, start_new_session=True)
    assert pbs.fingerprint in result.err and "PBS_FINGERPRINT" in result.err
    said = next(word for word in result.err.replace(";", " ").split() if word.count(":") == 31)
    assert SNAPSHOT in s.pbsmap("snapshots", *at, env={"PBS_PASSWORD": PASSWORD, "PBS_FINGERPRINT": said}).out


def test_the_first_time_the_user_is_asked_for_both_and_the_next_time_for_nothing(s, pbs, at, runtime):
    status, out, shown = talk(s, "snapshots", *at, answers=BOTH)
    assert status == 0 and SNAPSHOT in out, shown
    assert pbs.fingerprint in shown and PASSWORD not in shown
    assert SNAPSHOT in s.pbsmap("snapshots", *at, start_new_session=True).out
    for name in (s.path("home", ".config", "proxmox-backup", "fingerprints"),
                 os.path.join(runtime, "proxmox-backup", "tickets")):
        assert os.stat(name).st_mode & 0o7777 == 0o600
        with open(name, encoding="utf-8") as text:
            assert PASSWORD not in text.read()


def test_a_ticket_that_is_void_is_asked_for_again(s, pbs, at, runtime):
    env = pbs.env()
    del env["PBS_PASSWORD"]
    s.env.update(env)
    answers = [(PROMPT, PASSWORD + "\r")]
    assert talk(s, "snapshots", *at, answers=answers)[0] == 0
    assert SNAPSHOT in s.pbsmap("snapshots", *at, start_new_session=True).out
    pbs.control("expire")
    result = s.fails(REFUSED, "snapshots", *at, start_new_session=True)
    assert "PBS_PASSWORD" in result.err
    assert talk(s, "snapshots", *at, answers=answers)[0] == 0
    assert SNAPSHOT in s.pbsmap("snapshots", *at, start_new_session=True).out


@pytest.mark.parametrize("env", [{}, {"PBS_PASSWORD": PASSWORD}], ids=["no password", "password"])
@pytest.mark.parametrize("command", [["snapshots"], ["map", SNAPSHOT, ARCHIVE]], ids=["snapshots", "map"])
def test_no_is_no_and_nothing_is_remembered(s, pbs, at, command, env):
    s.env.update(env)
    status, out, shown = talk(s, *command, *at, answers=[(CERTIFICATE, "n\r")])
    assert (status, out) == (REFUSED, "") and PROMPT not in shown, shown
    assert shown.count(CERTIFICATE) == 1
    assert not os.path.exists(s.path("home", ".config", "proxmox-backup", "fingerprints"))


def test_nobody_types_a_password_for_a_server_that_is_not_there_or_another_one(s, pbs, at):
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        nobody = f"{USER}@127.0.0.1:{bound.getsockname()[1]}:store"
        status, out, shown = talk(s, "snapshots", "--repository", nobody, answers=[])
    assert (status, out) == (FAILED, "") and "refused" in shown and PROMPT not in shown, shown
    status, out, shown = talk(s, "snapshots", *at, "--fingerprint", "00:" * 31 + "00", answers=[])
    assert (status, out) == (REFUSED, "") and pbs.fingerprint in shown and PROMPT not in shown, shown


def test_a_certificate_that_changed_is_refused_without_a_question(s, pbs, at):
    before = pbs.fingerprint
    answers = [(CERTIFICATE, "y\r")]
    s.env["PBS_PASSWORD"] = PASSWORD
    assert talk(s, "snapshots", *at, answers=answers)[0] == 0
    pbs.control("certificate")
    status, out, shown = talk(s, "snapshots", *at, answers=answers)
    assert (status, out) == (REFUSED, "")
    assert before in shown and pbs.fingerprint in shown
    assert CERTIFICATE not in shown and PROMPT not in shown


def test_a_pinned_certificate_that_is_another_is_refused_without_a_question(s, pbs, at):
    s.env["PBS_PASSWORD"] = PASSWORD
    s.env["PBS_FINGERPRINT"] = "00:" * 31 + "00"
    status, out, shown = talk(s, "snapshots", *at, answers=[(CERTIFICATE, "y\r")])
    assert (status, out) == (REFUSED, "")
    assert CERTIFICATE not in shown and PROMPT not in shown and pbs.fingerprint in shown


def test_control_c_at_a_question_ends_it(s, pbs, at):
    s.env["PBS_PASSWORD"] = PASSWORD
    status, out, shown = talk(s, "snapshots", *at, answers=[(CERTIFICATE, "\x03")])
    assert status in (130, -2) and out == "", shown


def test_map_asks_in_the_background_process_as_well(s, pbs, at, golden):
    path = s.path("image")
    answers = BOTH
    status, out, shown = talk(s, "map", "--via", "file", *at, SNAPSHOT, ARCHIVE, path, answers=answers)
    assert (status, out) == (0, path + "\n"), shown
    assert sha256_of(path) == golden.image(SNAPSHOT, ARCHIVE).sha256
    s.pbsmap("unmap", path)


def test_no_secret_shows_in_the_process_table(s, pbs, at):
    path = s.path("image")
    s.map("--via", "file", *at, SNAPSHOT, ARCHIVE, path, env=pbs.env())
    servers = s.servers()
    assert s.mapping(path)["pid"] in servers
    for pid in servers:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as text:
                assert PASSWORD.encode() not in text.read(MIB)
    s.pbsmap("unmap", path)
