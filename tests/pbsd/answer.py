# SPDX-License-Identifier: Apache-2.0
"""What is sent back: bodies that are read when they are needed, and an answer around one."""
import os


class Refused(Exception):
    """A request that gets a status and a plain text, as the real server words it."""

    def __init__(self, status, text, is_typed=True):
        super().__init__(text)
        self.status = status
        self.text = text
        self.is_typed = is_typed  # says it was JSON, although the text is plain


class Gone(Exception):
    """The connection is over, whoever ended it."""


class BytesBody:
    def __init__(self, data):
        self.data = memoryview(data)
        self.left = len(data)

    def take(self, n):
        off = len(self.data) - self.left
        self.left -= n
        return self.data[off:off + n]

    def close(self):
        pass


class RepeatedBody:
    """@data again and again: a body of any length that needs no memory."""

    def __init__(self, data, left):
        self.data = data
        self.left = left

    def take(self, n):
        self.left -= n
        return (self.data * (n // len(self.data) + 1))[:n]

    def close(self):
        pass


class FileBody:
    """A file as long as it was when it was opened; read in pieces, when there is room for them."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.off = 0
        self.left = os.fstat(self.fd).st_size

    def take(self, n):
        data = os.pread(self.fd, n, self.off)
        if len(data) != n:
            raise Gone(f"a file became shorter at {self.off + len(data)}")
        self.off += n
        self.left -= n
        return data

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def contents_of(body):
    """All of a body that nobody has taken from."""
    data = bytes(body.take(body.left))
    body.close()
    return data


class Answer:
    """Status, headers and body; HTTP/1 and HTTP/2 write the same one in their own way."""

    def __init__(self, status, body, content_type=None, *, has_length=True, headers=()):
        self.status = status
        self.body = body
        self.content_type = content_type
        self.has_length = has_length
        self.length = body.left  # what content-length says
        self.headers = list(headers)
        self.wait = 0  # seconds before it is sent
