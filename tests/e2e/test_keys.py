# SPDX-License-Identifier: Apache-2.0
"""Keys, passwords and signatures: what opens a backup, and what is said when it does not."""
import json
import os

import pytest

from harness import MIB, PBSMAP, REFUSED, sha256_of, with_terminal

SCRYPT = "vm/201/2024-06-02T00:00:00Z"
PBKDF2 = "vm/202/2024-06-02T00:00:00Z"
SIGNED = "vm/203/2024-06-02T00:00:00Z"
RAW = "vm/204/2024-06-02T00:00:00Z"
ARCHIVE = "drive-scsi0.img"


@pytest.fixture
def scrypt(golden):
    return golden.image(SCRYPT, ARCHIVE)


@pytest.fixture
def password(golden, scrypt):
    return golden.passwords[scrypt.key]


def show(s, image, *arguments, **more):
    """Maps to a file and compares it: keys need no block device."""
    path = s.path("image")
    assert s.map("--via", "file", *image.arguments(), *arguments, path, **more) == path
    assert sha256_of(path) == image.sha256
    s.pbsmap("unmap", path)


def short_fingerprint(golden, key):
    with open(golden.key(key), encoding="utf-8") as text:
        return json.load(text)["fingerprint"][:23]


def file_with(s, name, text):
    path = s.path(name)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


def test_password_in_the_environment(s, scrypt, password):
    show(s, scrypt, env={"PBS_ENCRYPTION_PASSWORD": password})


def test_only_the_first_line_of_a_password_counts(s, scrypt, password):
    show(s, scrypt, env={"PBS_ENCRYPTION_PASSWORD": password + "\nsecond line"})


def test_password_from_a_file(s, scrypt, password):
    show(s, scrypt, env={"PBS_ENCRYPTION_PASSWORD_FILE": file_with(s, "pw", password + "\r\nmore\n")})


def test_password_from_a_command(s, scrypt, password):
    path = file_with(s, "p w", password + "\n")
    show(s, scrypt, env={"PBS_ENCRYPTION_PASSWORD_CMD": f"cat '{path}'"})


def test_password_from_a_descriptor(s, scrypt, password):
    reader, writer = os.pipe()
    os.write(writer, password.encode() + b"\n")
    os.close(writer)
    show(s, scrypt, env={"PBS_ENCRYPTION_PASSWORD_FD": str(reader)}, pass_fds=[reader])
    os.close(reader)


def test_the_variable_itself_is_asked_before_its_other_forms(s, scrypt, password):
    wrong = file_with(s, "pw", "something else\n")
    show(s, scrypt, env={"PBS_ENCRYPTION_PASSWORD": password, "PBS_ENCRYPTION_PASSWORD_FILE": wrong})


def test_a_failing_password_command_is_refused(s, scrypt):
    s.fails(REFUSED, "map", "--via", "file", *scrypt.arguments(), s.path("image"),
            env={"PBS_ENCRYPTION_PASSWORD_CMD": "false"})


def test_a_prompt_on_the_terminal(s, scrypt, password):
    path = s.path("image")
    command = [PBSMAP, "map", "--via", "file", *scrypt.arguments(), path]
    s.note(command)
    status, out, shown = with_terminal(command, s.env, [("assword", password + "\r")])
    assert (status, out) == (0, path + "\n"), shown
    assert password not in shown
    assert sha256_of(path) == scrypt.sha256
    s.pbsmap("unmap", path)


def test_control_c_at_the_prompt_leaves_nothing(s, scrypt):
    command = [PBSMAP, "map", "--via", "file", *scrypt.arguments(), s.path("image")]
    status, out, shown = with_terminal(command, s.env, [("assword", "\x03")])
    assert status in (130, -2), shown
    assert out == ""
    assert s.list() == []


def test_a_wrong_password_is_refused(s, scrypt, password):
    result = s.fails(REFUSED, "map", "--via", "file", *scrypt.arguments(), s.path("image"),
                     env={"PBS_ENCRYPTION_PASSWORD": "not-this-one"})
    assert "password" in result.err
    assert "not-this-one" not in result.err


def test_no_password_and_no_terminal_is_refused(s, scrypt):
    result = s.fails(REFUSED, "map", "--via", "file", *scrypt.arguments(), s.path("image"),
                     start_new_session=True)
    assert "PBS_ENCRYPTION_PASSWORD" in result.err


@pytest.mark.parametrize("snapshot", [RAW, SCRYPT])
def test_no_key_names_the_one_that_is_wanted(s, golden, snapshot):
    image = golden.image(snapshot, ARCHIVE)
    result = s.fails(REFUSED, "map", "--via", "file", "--repository", golden.store, snapshot, ARCHIVE,
                     s.path("image"))
    assert short_fingerprint(golden, image.key) in result.err


@pytest.mark.parametrize("snapshot", [RAW, SIGNED])
def test_another_key_is_refused_and_the_right_one_named(s, golden, snapshot):
    image = golden.image(snapshot, ARCHIVE)
    result = s.fails(REFUSED, "map", "--via", "file", "--repository", golden.store, "--keyfile",
                     golden.key("key-wrong.json"), snapshot, ARCHIVE, s.path("image"))
    assert short_fingerprint(golden, image.key) in result.err


def test_a_key_file_that_does_not_exist_is_an_error(s, golden):
    result = s.pbsmap("map", "--via", "file", "--repository", golden.store, "--keyfile", s.path("nothing.json"),
                      RAW, ARCHIVE, s.path("image"), check=False)
    assert result.status != 0 and s.path("nothing.json") in result.err


def test_signed_data_is_readable_without_the_key_with_a_warning(s, golden):
    image = golden.image(SIGNED, ARCHIVE)
    path = s.path("image")
    result = s.pbsmap("map", "--via", "file", "--repository", golden.store, SIGNED, ARCHIVE, path)
    assert "signature" in result.err
    assert sha256_of(path) == image.sha256


def test_a_signature_that_was_checked_is_no_reason_to_warn(s, golden):
    image = golden.image(SIGNED, ARCHIVE)
    result = s.pbsmap("map", "--via", "file", *image.arguments(), s.path("image"))
    assert "signature" not in result.err


def test_a_key_for_an_unsigned_backup_is_refused_unless_allowed(s, golden):
    image = golden.image("vm/100/2024-06-03T00:00:00Z", "drive-scsi1.img")
    with_key = [*image.arguments(), "--keyfile", golden.key("key-none.json")]
    result = s.fails(REFUSED, "map", "--via", "file", *with_key, s.path("image"))
    assert "--allow-unsigned" in result.err
    show(s, image, "--keyfile", golden.key("key-none.json"), "--allow-unsigned")


def test_a_default_key_file_is_found_and_does_not_stand_in_the_way_of_plain_backups(s, golden):
    config = s.path("home", ".config", "proxmox-backup")
    os.makedirs(config)
    s.run("cp", golden.key("key-none.json"), os.path.join(config, "encryption-key.json"))
    path = s.path("image")
    for snapshot, archive in ((RAW, ARCHIVE), ("vm/100/2024-06-03T00:00:00Z", "drive-scsi1.img")):
        s.map("--via", "file", "--repository", golden.store, snapshot, archive, path)
        assert sha256_of(path) == golden.image(snapshot, archive).sha256
        s.pbsmap("unmap", path)


@pytest.mark.parametrize("form", ["", "_FILE"])
def test_no_secret_shows_in_the_process_table(s, scrypt, password, form):
    """Neither of the server process nor of its keeper; nor one that was not needed."""
    path = s.path("image")
    value = file_with(s, "pw", password) if form else password
    s.map("--via", "file", *scrypt.arguments(), path,
          env={f"PBS_ENCRYPTION_PASSWORD{form}": value, "PBS_PASSWORD": s.env.get("PBS_PASSWORD", "not-needed")})
    servers = s.servers()
    assert s.mapping(path)["pid"] in servers and len(servers) == 2
    for pid in servers:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as text:
                shown = text.read(MIB)
            assert password.encode() not in shown and b"not-needed" not in shown
    s.pbsmap("unmap", path)
