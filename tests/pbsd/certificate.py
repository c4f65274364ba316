# SPDX-License-Identifier: Apache-2.0
"""The server's certificate: a given one, or one made for the day."""
import hashlib
import os
import ssl
import subprocess

MAKE = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/O=pbsd/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
        "-keyout", "-", "-out", "-"]


def make_pem():
    """Key and certificate in one text."""
    return subprocess.run(MAKE, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


class Certificate:
    def __init__(self, pem):
        self.pem = pem
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        # ssl only reads files; this one has no name.
        fd = os.memfd_create("certificate", os.MFD_CLOEXEC)
        try:
            os.write(fd, pem)
            self.context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        begin = pem.index(b"-----BEGIN CERTIFICATE")
        leaf = ssl.PEM_cert_to_DER_cert(pem[begin:pem.index(b"-----END CERTIFICATE-----") + 25].decode())
        self.fingerprint = hashlib.sha256(leaf).digest().hex(":")


def from_files(certificate, key):
    with open(certificate, "rb") as first, open(key, "rb") as second:
        return Certificate(first.read() + b"\n" + second.read())


def new():
    return Certificate(make_pem())
