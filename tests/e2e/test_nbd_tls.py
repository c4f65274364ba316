# SPDX-License-Identifier: Apache-2.0
"""NBD over TLS: certificates and keys, with clients that use another library for it."""
import json
import os
import shutil
import signal
import socket
import ssl

import pytest

from harness import NOT_FOUND, USAGE, sha256_of
from test_nbd import SNAPSHOT, need, serve

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]  # made at once, unlike one of RSA
NAME, KEY = "alice", "00112233445566778899aabbccddeeff"


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi0.img")


class Authority:
    """Certificates, made by openssl(1)."""

    def __init__(self, s, name):
        self.s = s
        self.directory = s.path(name)
        os.mkdir(self.directory)
        self.openssl("req", "-x509", *NEW_KEY, "-nodes", "-days", "30", "-subj", f"/CN={name}",
                     "-keyout", self.path("ca-key.pem"), "-out", self.path("ca-cert.pem"))

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def openssl(self, *words):
        return self.s.run("openssl", *words)

    def issue(self, who, kind):
        self.openssl("req", *NEW_KEY, "-nodes", "-subj", f"/CN={who}", "-keyout",
                     self.path(f"{who}-key.pem"), "-out", self.path(f"{who}.csr"))
        with open(self.path("ext"), "w", encoding="utf-8") as out:
            out.write(f"extendedKeyUsage={kind}\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self.openssl("x509", "-req", "-days", "30", "-CA", self.path("ca-cert.pem"), "-CAkey", self.path("ca-key.pem"),
                     "-CAcreateserial", "-extfile", self.path("ext"), "-in", self.path(f"{who}.csr"),
                     "-out", self.path(f"{who}-cert.pem"))

    def pick(self, name, *files):
        """A directory of its own with these files, as libnbd and qemu want them."""
        target = self.s.path(name)
        os.mkdir(target)
        for file in files:
            shutil.copy(self.path(file), target)
        return target


@pytest.fixture
def authority(s):
    authority = Authority(s, "authority")
    authority.issue("server", "serverAuth")
    authority.issue("client", "clientAuth")
    return authority


def with_certificates(uri, directory):
    return f"{uri}?tls-certificates={directory}"


def size_over(s, uri, check=True):
    need("nbdinfo")
    result = s.run("nbdinfo", "--size", uri, check=check)
    return result.out.strip() if result.status == 0 else None


def test_certificates_of_both_sides(s, image, authority):
    need("nbdcopy")
    server = authority.pick("srv", "server-cert.pem", "server-key.pem", "ca-cert.pem")
    client = authority.pick("cli", "client-cert.pem", "client-key.pem", "ca-cert.pem")
    _, uri = serve(s, "--listen", "0", "--tls-certificates", server, *image.arguments())
    assert uri.startswith("nbds://127.0.0.1:")
    s.run("nbdcopy", with_certificates(uri, client), s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    told = json.loads(s.run("nbdinfo", "--json", with_certificates(uri, client)).out)
    assert told["TLS"] is True
    # Without a certificate, with one of somebody else, and in the open: nothing is said.
    assert size_over(s, with_certificates(uri, authority.pick("none", "ca-cert.pem")), check=False) is None
    other = Authority(s, "other")
    other.issue("client", "clientAuth")
    shutil.copy(authority.path("ca-cert.pem"), other.path("ca-cert.pem"))
    assert size_over(s, with_certificates(uri, other.path()), check=False) is None
    refused = s.run("nbdinfo", "--size", uri.replace("nbds:", "nbd:"), check=False)
    assert refused.status != 0 and "TLS" in refused.err
    assert size_over(s, with_certificates(uri, client)) == str(image.size)


def test_anybody_may_come_without_an_authority(s, image, authority):
    server = authority.pick("srv", "server-cert.pem", "server-key.pem")
    _, uri = serve(s, "--listen", "0", "--tls-certificates", server, *image.arguments())
    assert size_over(s, with_certificates(uri, authority.pick("cli", "ca-cert.pem"))) == str(image.size)


def test_a_revoked_client(s, image, authority):
    authority.issue("gone", "clientAuth")
    with open(authority.path("index.txt"), "w", encoding="utf-8"):
        pass
    with open(authority.path("crlnumber"), "w", encoding="utf-8") as out:
        out.write("01\n")
    with open(authority.path("ca.conf"), "w", encoding="utf-8") as out:
        out.write(f"[ca]\ndefault_ca=x\n[x]\ndatabase={authority.path('index.txt')}\ndefault_md=sha256\n"
                  f"crlnumber={authority.path('crlnumber')}\ndefault_crl_days=30\n")
    ca = ["-config", authority.path("ca.conf"), "-cert", authority.path("ca-cert.pem"), "-keyfile",
          authority.path("ca-key.pem")]
    authority.openssl("ca", *ca, "-revoke", authority.path("gone-cert.pem"))
    authority.openssl("ca", *ca, "-gencrl", "-out", authority.path("ca-crl.pem"))
    server = authority.pick("srv", "server-cert.pem", "server-key.pem", "ca-cert.pem", "ca-crl.pem")
    client = authority.pick("cli", "client-cert.pem", "client-key.pem", "ca-cert.pem")
    gone = authority.pick("bad", "ca-cert.pem")
    for kind in ("cert", "key"):
        shutil.copy(authority.path(f"gone-{kind}.pem"), os.path.join(gone, f"client-{kind}.pem"))
    _, uri = serve(s, "--listen", "0", "--tls-certificates", server, *image.arguments())
    assert size_over(s, with_certificates(uri, client)) == str(image.size)
    assert size_over(s, with_certificates(uri, gone), check=False) is None


@pytest.fixture
def psk_file(s):
    with open(s.path("keys.psk"), "w", encoding="utf-8") as out:
        out.write(f"# who may come\nbob:{'ab' * 32}\n{NAME}:{KEY}\n")
    return s.path("keys.psk")


def with_key(uri, who, path):
    return uri.replace("://", f"://{who}@", 1) + f"?tls-psk-file={path}"


def test_keys_that_both_sides_have(s, image, psk_file):
    need("nbdcopy")
    _, uri = serve(s, "--listen", "0", "--tls-psk", psk_file, *image.arguments())
    assert uri.startswith("nbds://")
    s.run("nbdcopy", with_key(uri, NAME, psk_file), s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    assert size_over(s, with_key(uri, "bob", psk_file)) == str(image.size)
    with open(s.path("wrong.psk"), "w", encoding="utf-8") as out:
        out.write(f"{NAME}:{KEY[::-1]}\nmallory:{KEY}\n")
    for who in (NAME, "mallory"):
        assert size_over(s, with_key(uri, who, s.path("wrong.psk")), check=False) is None
    assert size_over(s, with_key(uri, NAME, psk_file)) == str(image.size)


def test_a_key_or_a_certificate(s, image, authority, psk_file):
    """Of a server with both a client needs one, whichever version and suites its library prefers."""
    server = authority.pick("srv", "server-cert.pem", "server-key.pem", "ca-cert.pem")
    client = authority.pick("cli", "client-cert.pem", "client-key.pem", "ca-cert.pem")
    _, uri = serve(s, "--listen", "0", "--tls-certificates", server, "--tls-psk", psk_file, *image.arguments())
    assert size_over(s, with_certificates(uri, client)) == str(image.size)
    assert size_over(s, with_key(uri, NAME, psk_file)) == str(image.size)
    assert size_over(s, with_certificates(uri, authority.pick("none", "ca-cert.pem")), check=False) is None


def test_qemu_with_keys(s, image, psk_file):
    need("qemu-img")
    _, uri = serve(s, "--listen", "0", "--tls-psk", psk_file, *image.arguments())
    os.mkdir(s.path("qemu"))
    shutil.copy(psk_file, s.path("qemu", "keys.psk"))
    port = uri.split(":")[2].split("/")[0]
    options = f"driver=nbd,host=127.0.0.1,port={port},export={image.archive},tls-creds=t"
    s.run("qemu-img", "convert", "--object", f"tls-creds-psk,id=t,endpoint=client,dir={s.path('qemu')},username={NAME}",
          "--image-opts", options, "-O", "raw", s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256


def test_qemu_with_certificates(s, image, authority):
    need("qemu-img")
    server = authority.pick("srv", "server-cert.pem", "server-key.pem", "ca-cert.pem")
    client = authority.pick("cli", "client-cert.pem", "client-key.pem", "ca-cert.pem")
    _, uri = serve(s, "--listen", "0", "--tls-certificates", server, *image.arguments())
    port = uri.split(":")[2].split("/")[0]
    options = f"driver=nbd,host=127.0.0.1,port={port},export={image.archive},tls-creds=t"
    s.run("qemu-img", "convert", "--object", f"tls-creds-x509,id=t,endpoint=client,dir={client}",
          "--image-opts", options, "-O", "raw", s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256


def test_nothing_that_was_said_in_the_open_counts_under_tls(s, image, psk_file):
    """A request that somebody in the middle puts behind STARTTLS ends the connection."""
    _, uri = serve(s, "--listen", "0", "--tls-psk", psk_file, *image.arguments())
    host, port = uri.removeprefix("nbds://").split("/")[0].split(":")
    with socket.create_connection((host, int(port)), 20) as client:
        assert client.recv(18)[:8] == b"NBDMAGIC"
        starttls = b"IHAVEOPT" + bytes([0, 0, 0, 5, 0, 0, 0, 0])
        client.sendall(bytes([0, 0, 0, 3]) + starttls + b"IHAVEOPT" + bytes([0, 0, 0, 3, 0, 0, 0, 0]))
        data = b""
        while piece := client.recv(1000):
            data += piece
        assert len(data) <= 20


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_old_version(s, image, authority):
    server = authority.pick("srv", "server-cert.pem", "server-key.pem")
    _, uri = serve(s, "--listen", "0", "--tls-certificates", server, *image.arguments())
    host, port = uri.removeprefix("nbds://").split("/")[0].split(":")

    def shake_hands(version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        with socket.create_connection((host, int(port)), 20) as client:
            client.recv(18)
            client.sendall(bytes([0, 0, 0, 3]) + b"IHAVEOPT" + bytes([0, 0, 0, 5, 0, 0, 0, 0]))
            client.recv(20)
            with context.wrap_socket(client) as secure:
                return secure.version()

    assert shake_hands(ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert shake_hands(ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    with pytest.raises(OSError):
        shake_hands(ssl.TLSVersion.TLSv1_1)


def test_the_keys_are_in_no_command_line_and_no_environment(s, image, psk_file):
    child, _ = serve(s, "--listen", "0", "--tls-psk", psk_file, *image.arguments())
    for name in ("cmdline", "environ"):
        with open(f"/proc/{child.pid}/{name}", "rb") as text:
            assert KEY.encode() not in text.read()
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0


@pytest.mark.parametrize("text,says", [
    ("", "no keys"), ("alice\n", "line 1"), (f"x:{KEY}\nalice:{'zz' * 16}\n", "line 2"), ("alice:0011\n", "16"),
    (f":{KEY}\n", "line 1"), (f"alice:{KEY}0\n", "line 1"),
], ids=["empty", "no-key", "no-hex", "short", "no-name", "half-a-byte"])
def test_a_file_of_keys_that_is_none(s, image, text, says):
    with open(s.path("keys"), "w", encoding="utf-8") as out:
        out.write(text)
    result = s.fails(USAGE, "serve", "--listen", "0", "--tls-psk", s.path("keys"), *image.arguments())
    assert says in result.err
    assert KEY not in result.err


def test_certificates_that_are_none(s, image, authority):
    s.fails(NOT_FOUND, "serve", "--listen", "0", "--tls-certificates", s.path("nowhere"), *image.arguments())
    wrong = authority.pick("wrong", "server-cert.pem")
    shutil.copy(authority.path("client-key.pem"), os.path.join(wrong, "server-key.pem"))
    result = s.fails(USAGE, "serve", "--listen", "0", "--tls-certificates", wrong, *image.arguments())
    assert "server-key.pem" in result.err
    with open(os.path.join(wrong, "ca-cert.pem"), "w", encoding="utf-8") as out:
        out.write("nonsense\n")
    shutil.copy(authority.path("server-key.pem"), wrong)
    result = s.fails(USAGE, "serve", "--listen", "0", "--tls-certificates", wrong, *image.arguments())
    assert "ca-cert.pem" in result.err
