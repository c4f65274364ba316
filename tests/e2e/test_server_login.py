# SPDX-License-Identifier: Apache-2.0
"""How one gets in: prompts, known certificates, authorities, tickets that are kept, proxies."""
import json
import os
import socket
import stat

import pytest

from golden import SETS
from harness import FAILED, PBSMAP, REFUSED, with_terminal
from pbsd import PASSWORD, USER, Pbsd
from remote import Disk, Read, is_lost, map_at
from wire import Proxy, Relay

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
ASK_PASSWORD = f'Password for "{USER}"'
ASK_TRUST = "Are you sure you want to continue connecting? (y/n):"


@pytest.fixture(scope="module")
def shared(unpacked):
    if not SETS:
        pytest.skip("no golden datastore here")
    with Pbsd({"store": SETS[0].store}, "--auth-delay=0", "--token=tok=secret") as started:
        yield started


@pytest.fixture
def pbs(shared):
    shared.control("clear")
    shared.counters(reset=True)
    return shared


@pytest.fixture
def config(s):
    """Directories of the user's own."""
    for name in ("config", "runtime"):
        os.mkdir(s.path(name), 0o700)
    return {"XDG_CONFIG_HOME": s.path("config"), "XDG_RUNTIME_DIR": s.path("runtime")}


def snapshots(pbs, host="127.0.0.1", user=USER):
    return [PBSMAP, "snapshots", "--repository", f"{user}@{host}:{pbs.port}:store"]


def on_terminal(s, pbs, env, answers, command=None):
    return with_terminal(command or snapshots(pbs), {**s.env, **env}, answers)


# -- prompts ---------------------------------------------------------------------------------------

def test_the_password_is_asked_for_and_not_shown(s, pbs, config):
    status, out, shown = on_terminal(s, pbs, {**config, "PBS_FINGERPRINT": pbs.fingerprint},
                                     [(ASK_PASSWORD, PASSWORD + "\r")])
    assert (status, SNAPSHOT in out) == (0, True), shown
    assert PASSWORD not in shown and "*" * len(PASSWORD) in shown
    assert pbs.counters()["logins"] == 1


def test_a_wrong_password_is_refused_and_asked_for_once(s, pbs, config):
    status, out, shown = on_terminal(s, pbs, {**config, "PBS_FINGERPRINT": pbs.fingerprint},
                                     [(ASK_PASSWORD, "wrong-secret\r")])
    assert (status, out) == (REFUSED, "") and "wrong password" in shown
    assert "wrong-secret" not in shown and shown.count(ASK_PASSWORD) == 1
    assert pbs.counters()["logins"] == 1


def test_a_token_is_never_asked_for(s, pbs, config):
    status, out, shown = on_terminal(s, pbs, {**config, "PBS_FINGERPRINT": pbs.fingerprint}, [],
                                     snapshots(pbs, user=f"{USER}!tok"))
    assert (status, out) == (REFUSED, "") and "API token secret must be provided" in shown


def test_a_map_asks_before_it_goes_to_the_background(s, config, pbs):
    command = [PBSMAP, "map", "--via", "file", "--repository", pbs.repository("store"), SNAPSHOT, "drive-scsi1.img",
               s.path("image")]
    status, out, shown = on_terminal(s, pbs, config, [(ASK_TRUST, "y\r"), (ASK_PASSWORD, PASSWORD + "\r")], command)
    assert (status, out) == (0, s.path("image") + "\n"), shown
    assert pbs.counters()["logins"] == 1
    s.pbsmap("unmap", s.path("image"))


# -- certificates ----------------------------------------------------------------------------------

def known(s):
    with open(s.path("config", "proxmox-backup", "fingerprints"), encoding="ascii") as rows:
        return rows.read().splitlines()


def test_an_unknown_certificate_is_asked_about_once_and_remembered(s, pbs, config):
    env = {**config, "PBS_PASSWORD": PASSWORD}
    status, out, shown = on_terminal(s, pbs, env, [(ASK_TRUST, "y\r")])
    assert status == 0 and SNAPSHOT in out
    assert f"fingerprint: {pbs.fingerprint}" in shown and shown.count(ASK_TRUST) == 1
    assert known(s) == [f"127.0.0.1 {pbs.fingerprint}"]
    status, out, shown = on_terminal(s, pbs, env, [])
    assert status == 0 and ASK_TRUST not in shown
    s.run(*snapshots(pbs), env=env)


@pytest.mark.parametrize("answers, words", [
    ([(ASK_TRUST, "n\r")], "not confirmed"),
    ([(ASK_TRUST, "maybe\r"), ("maybe\r\nNothing vouches", "y\r")], None),
])
def test_only_a_yes_is_a_yes(s, pbs, config, answers, words):
    status, out, shown = on_terminal(s, pbs, {**config, "PBS_PASSWORD": PASSWORD}, answers)
    assert status == (REFUSED if words else 0), shown
    assert not words or words in shown and out == ""
    assert os.path.exists(s.path("config", "proxmox-backup", "fingerprints")) == (not words)
    assert bool(pbs.counters()["logins"]) == (not words)


def remember(s, text):
    os.mkdir(s.path("config", "proxmox-backup"))
    with open(s.path("config", "proxmox-backup", "fingerprints"), "w", encoding="ascii") as out:
        out.write(text)


def test_a_certificate_that_changed_is_never_asked_about(s, pbs, config):
    before = "11:" + pbs.fingerprint[3:]
    remember(s, f"127.0.0.1 {before}\n")
    status, out, shown = on_terminal(s, pbs, {**config, "PBS_PASSWORD": PASSWORD}, [])
    assert (status, out) == (REFUSED, "")
    assert before in shown and pbs.fingerprint in shown and ASK_TRUST not in shown
    assert known(s) == [f"127.0.0.1 {before}"]
    assert pbs.counters()["logins"] == 0


def test_a_pinned_certificate_is_never_asked_about(s, pbs, config):
    wrong = "11:" + pbs.fingerprint[3:]
    remember(s, f"127.0.0.1 {pbs.fingerprint}\n")
    for more in ({"PBS_FINGERPRINT": wrong}, {}):
        option = [] if more else ["--fingerprint", wrong]
        status, out, shown = on_terminal(s, pbs, {**config, "PBS_PASSWORD": PASSWORD, **more}, [],
                                         [*snapshots(pbs), *option])
        assert (status, out) == (REFUSED, "") and ASK_TRUST not in shown, shown
    assert pbs.counters()["logins"] == 0


def make_authority(s):
    """An authority, and a certificate of localhost and 127.0.0.1 it vouches for."""
    def openssl(*words):
        s.run("openssl", *words)
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=test authority", "-keyout", s.path("ca.key"), "-out",
            s.path("ca.pem"))
    openssl("req", *new, "-subj", "/CN=localhost", "-keyout", s.path("leaf.key"), "-out", s.path("leaf.csr"))
    with open(s.path("leaf.ext"), "w", encoding="ascii") as out:
        out.write("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", s.path("leaf.csr"), "-CA", s.path("ca.pem"), "-CAkey", s.path("ca.key"),
            "-CAcreateserial", "-days", "2", "-extfile", s.path("leaf.ext"), "-out", s.path("leaf.pem"))
    return [f"--cert={s.path('leaf.pem')}", f"--key={s.path('leaf.key')}"]


def test_a_certificate_that_an_authority_vouches_for(s, golden, config):
    options = make_authority(s)
    env = {**config, "PBS_PASSWORD": PASSWORD}
    with Pbsd({"store": golden.store}, "--auth-delay=0", *options) as pbs:
        trusting = {**env, "SSL_CERT_FILE": s.path("ca.pem")}
        for host in ("127.0.0.1", "localhost"):
            assert SNAPSHOT in s.run(*snapshots(pbs, host), env=trusting).out
        # Vouched for, and for somebody else.
        relay = Relay(socket.create_server(("127.0.0.2", 0)), pbs.port)
        result = s.run(PBSMAP, "snapshots", "--repository", f"{USER}@127.0.0.2:{relay.own_port}:store", env=trusting,
                       check=False, start_new_session=True)
        relay.close()
        assert result.status == REFUSED and "nothing vouches" in result.err, result
        result = s.run(*snapshots(pbs), env=env, check=False, start_new_session=True)
        assert result.status == REFUSED and "nothing vouches" in result.err
        # Pinned to another one: the authority does not matter.
        result = s.run(*snapshots(pbs), env={**trusting, "PBS_FINGERPRINT": "11:" + pbs.fingerprint[3:]},
                       check=False)
        assert result.status == REFUSED
        assert not os.path.exists(s.path("config", "proxmox-backup", "fingerprints"))


# -- tickets ---------------------------------------------------------------------------------------

def tickets(s):
    with open(s.path("runtime", "proxmox-backup", "tickets"), encoding="utf-8") as text:
        return json.load(text)


def log_in_once(s, pbs, config):
    """A ticket is in the cache; the password is nowhere."""
    env = {**config, "PBS_FINGERPRINT": pbs.fingerprint}
    s.run(*snapshots(pbs), env={**env, "PBS_PASSWORD": PASSWORD})
    assert pbs.counters(reset=True)["logins"] == 1
    return env


def test_a_ticket_is_used_by_the_next_command(s, pbs, config):
    env = log_in_once(s, pbs, config)
    path = s.path("runtime", "proxmox-backup", "tickets")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert PASSWORD not in open(path, encoding="utf-8").read()
    assert SNAPSHOT in s.run(*snapshots(pbs), env=env, start_new_session=True).out
    image = s.map("--via", "file", "--repository", pbs.repository("store"), SNAPSHOT, "drive-scsi1.img",
                  s.path("image"), env=env)
    assert pbs.counters()["logins"] == 0
    s.pbsmap("unmap", image)


def test_a_ticket_that_gets_old_is_renewed(s, pbs, config):
    env = log_in_once(s, pbs, config)
    path = s.path("runtime", "proxmox-backup", "tickets")
    before = tickets(s)
    text = open(path, encoding="utf-8").read()
    stamp = before["127.0.0.1"][USER]["timestamp"]
    with open(path, "w", encoding="utf-8") as out:
        out.write(text.replace(str(stamp), str(stamp - 1200)))
    assert SNAPSHOT in s.run(*snapshots(pbs), env=env, start_new_session=True).out
    assert pbs.counters()["logins"] == 1
    assert tickets(s)["127.0.0.1"][USER]["timestamp"] >= stamp


def test_a_ticket_that_is_void_is_forgotten_and_the_password_asked_for(s, pbs, config):
    env = log_in_once(s, pbs, config)
    pbs.control("expire")
    result = s.run(*snapshots(pbs), env=env, check=False, start_new_session=True)
    assert result.status == REFUSED and result.err.count("\n") == 1, result
    status, out, shown = on_terminal(s, pbs, env, [(ASK_PASSWORD, PASSWORD + "\r")])
    assert status == 0 and SNAPSHOT in out, shown
    pbs.counters(reset=True)
    assert SNAPSHOT in s.run(*snapshots(pbs), env=env, start_new_session=True).out
    assert pbs.counters()["logins"] == 0


def test_a_mapping_that_has_only_a_ticket(s, mkstore, config):
    """It goes on with it when the connection is made again, and says what is missing when it is void."""
    disk = Disk(s)
    with disk.served() as pbs:
        env = {**config, "PBS_FINGERPRINT": pbs.fingerprint}
        s.run(*snapshots(pbs), env={**env, "PBS_PASSWORD": PASSWORD})
        path = s.map("--via", "file", "--read-ahead", "0", "--timeout", "2", "--repository", pbs.repository("store"),
                     "vm/100", "disk.img", s.path("image"), env=env)
        pbs.fault("cut", at="now")
        Read(path, 20).brings(disk)
        assert pbs.counters()["logins"] == 1
        pbs.control("expire")
        pbs.fault("cut", at="now")
        Read(path, 21).fails_at(2)
        assert "password" in is_lost(s, path)["why"]
        s.pbsmap("unmap", path)


def test_a_cache_that_others_may_read_is_left_out(s, pbs, config):
    os.chmod(s.path("runtime"), 0o700)
    os.mkdir(s.path("runtime", "proxmox-backup"), 0o777)
    os.chmod(s.path("runtime", "proxmox-backup"), 0o777)
    result = s.run(*snapshots(pbs), env={**config, **pbs.env()})
    assert "warning" in result.err and result.err.count("\n") == 1
    assert os.listdir(s.path("runtime", "proxmox-backup")) == []


# -- ways to a server ------------------------------------------------------------------------------

@pytest.fixture
def proxy(pbs):
    made = Proxy(pbs.port)
    yield made
    made.close()


def test_a_proxy_of_the_environment(s, mkstore):
    disk = Disk(s)
    with disk.served() as own:
        made = Proxy(own.port)
        env = {"ALL_PROXY": f"127.0.0.1:{made.own_port}"}
        path = map_at(s, own, env=env, repository=f"{USER}@pbs.example:8007:store")
        Read(path, 20).brings(disk)
        assert all(head.startswith("CONNECT pbs.example:8007 HTTP/1.") for head in made.requests), made.requests
        n = len(made.requests)
        own.fault("cut", at="now")
        Read(path, 21).brings(disk)
        assert len(made.requests) > n, "the connection was made again without the proxy"
        for head in made.requests:
            assert "PBSAuthCookie" not in head and "authorization" not in head.lower()
        s.pbsmap("unmap", path)
        made.close()


def test_a_proxy_with_a_password_keeps_it_to_itself(s, pbs, proxy):
    env = {**pbs.env(), "ALL_PROXY": f"me:proxy-secret@127.0.0.1:{proxy.own_port}"}
    assert SNAPSHOT in s.run(*snapshots(pbs), env=env).out
    assert "proxy-authorization: Basic" in proxy.requests[0] or "Proxy-Authorization: Basic" in proxy.requests[0]
    proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    result = s.run(*snapshots(pbs), env=env, check=False)
    assert result.status == FAILED and result.err.count("\n") == 1, result
    assert "proxy" in result.err and "407" in result.err and "proxy-secret" not in result.err


def test_a_proxy_that_is_not_there_is_spoken_of(s, pbs):
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        env = {**pbs.env(), "ALL_PROXY": f"me:proxy-secret@127.0.0.1:{bound.getsockname()[1]}"}
        result = s.run(*snapshots(pbs), env=env, check=False)
        assert result.status == FAILED and "proxy" in result.err and "refused" in result.err, result
        assert "proxy-secret" not in result.err
        assert SNAPSHOT in s.run(*snapshots(pbs), env={**env, "NO_PROXY": "127.0.0.1"}).out


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"SSH-2.0-x\r\n", b"",
                                    b"HTTP/1.1 200 OK\r\n\r\nhm"])
def test_a_proxy_that_is_none(s, pbs, proxy, answer):
    proxy.answer = answer
    env = {**pbs.env(), "ALL_PROXY": f"127.0.0.1:{proxy.own_port}"}
    result = s.run(*snapshots(pbs), env=env, check=False, timeout=30)
    assert result.status == FAILED and result.err.count("\n") == 1, result


def test_an_address_of_ip_6(s, pbs):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as why:
        pytest.skip(f"no IPv6 here: {why}")
    relay = Relay(listener, pbs.port)
    try:
        result = s.run(PBSMAP, "snapshots", "--repository", f"{USER}@[::1]:{relay.own_port}:store", env=pbs.env())
        assert SNAPSHOT in result.out and relay.n_connections
    finally:
        relay.close()
