# SPDX-License-Identifier: Apache-2.0
"""The test server tests/pbsd/pbsd from a test's side: start it, steer it, see what it saw."""
import json
import os
import re
import select
import socket
import subprocess

from harness import PRIVATE, TOP

PROGRAM = os.path.join(TOP, "tests", "pbsd", "pbsd")
USER = "test@pbs"
PASSWORD = "a pass,word: 100 %"
START_SECONDS = 20


class Pbsd:
    """A running server; `with Pbsd({"store": directory}) as server`."""

    def __init__(self, stores, *options, password=PASSWORD, log=None):
        self.password = password
        self.names = {directory: name for name, directory in stores.items()}
        names = [f"--datastore={name}={directory}" for name, directory in stores.items()]
        env = {name: value for name, value in os.environ.items() if not name.startswith(PRIVATE)}
        # The pipe is its leash: when this process is gone, so is the server.
        self.process = subprocess.Popen(
            [PROGRAM, *names, f"--password={password}", "--watch-stdin", *map(str, options)], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            assert select.select([self.process.stdout], [], [], START_SECONDS)[0], "pbsd does not start"
            line = self.process.stdout.readline()
            assert line, f"pbsd ends with {self.process.wait(START_SECONDS)} before it listens"
            said = json.loads(line)
        except BaseException:
            self.stop()
            raise
        self.port = said["port"]
        self.pid = said["pid"]
        self.fingerprint = said["fingerprint"]
        self.control_socket = socket.create_connection(("127.0.0.1", said["control"]), timeout=60)
        self.control_file = self.control_socket.makefile("rw", encoding="utf-8")

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.stop()

    def stop(self):
        """Ends it, however it is; its exit status."""
        if hasattr(self, "control_file"):
            self.control_file.close()
            self.control_socket.close()
        self.process.terminate()
        try:
            return self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.process.stdin.close()
            self.process.stdout.close()

    # What a client needs

    def repository(self, store, user=USER):
        return f"{user}@127.0.0.1:{self.port}:{store}"

    def repository_of(self, directory):
        """The same for a datastore directory, that it may not know yet."""
        if directory not in self.names:
            self.names[directory] = f"store-{len(self.names)}"
            self.control("store", name=self.names[directory], directory=directory)
        return self.repository(self.names[directory])

    def env(self):
        return {"PBS_PASSWORD": self.password, "PBS_FINGERPRINT": self.fingerprint}

    # What a test wants

    def control(self, do, **words):
        """A command of tests/pbsd/control.py; its answer."""
        print(json.dumps({"do": do, **words}), file=self.control_file, flush=True)
        said = json.loads(self.control_file.readline())
        assert "error" not in said, f"pbsd: {said['error']}"
        if "fingerprint" in said:
            self.fingerprint = said["fingerprint"]
        return said

    def fault(self, action, at="request", path="", **words):
        """A rule of tests/pbsd/faults.py; its number."""
        return self.control("fault", action=action, at=at, path=path, **words)["rule"]

    def counters(self, reset=False):
        return self.control("counters", reset=reset)

    def hits(self, rule):
        return self.counters()["hits"][str(rule)]

    def n_requests(self, path):
        """How many requests a regular expression is found in the path of."""
        return sum(n for name, n in self.counters()["requests"].items() if re.search(path, name))
