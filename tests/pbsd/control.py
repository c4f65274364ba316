# SPDX-License-Identifier: Apache-2.0
"""The control channel: a loopback port, a JSON object a line, an answer a line.

    {"do": "fault", ...}            a rule of faults.py; answers its number
    {"do": "clear"}                 no rules, stalls, drips, refusals any more
    {"do": "set", ...}              delay (ms, one way), auth_delay (ms), refuse_logins, second_factor (booleans)
    {"do": "maintenance", "store", "mode", "text"}   for new sessions; without a mode it is over
    {"do": "store", "name", "directory"}   one more datastore
    {"do": "expire"}                every ticket so far is void
    {"do": "certificate"}           another one for new connections, own or from files "cert" and "key"
    {"do": "remove", "store", "snapshot", "ns", "force"}   as prune would; nothing is deleted on disk
    {"do": "freeze"}, {"do": "thaw"}   nothing is read or written on any connection, old or new; and on all again
    {"do": "stop", "how"}           listener and connections go ("fin" or "rst"); {"do": "start"} on the same port
    {"do": "restart", "seconds", "how"}   both, with a pause
    {"do": "counters", "reset"}     what was seen so far; numbers of open connections; hits of each rule

An answer is {"ok": true, ...} or {"error": text}.
"""
import json
import socketserver
import threading

import certificate
from store import Datastore


class Control:
    def __init__(self, server):
        self.server = server

    def do_fault(self, **rule):
        return {"rule": self.server.faults.add(rule, self.server.all_connections())}

    def do_clear(self):
        self.server.clear()

    def do_set(self, delay=None, auth_delay=None, refuse_logins=None, second_factor=None):
        server = self.server
        if delay is not None:
            server.delay_ms = delay
        if auth_delay is not None:
            server.auth_delay_ms = auth_delay
        if refuse_logins is not None:
            server.accounts.refuses_logins = refuse_logins
        if second_factor is not None:
            server.accounts.wants_second_factor = second_factor

    def do_maintenance(self, store, mode=None, text=""):
        self.server.stores[store].maintenance = (mode, text) if mode else None

    def do_store(self, name, directory):
        self.server.stores[name] = Datastore(name, directory)

    def do_expire(self):
        self.server.accounts.expire_tickets()

    def do_certificate(self, cert=None, key=None):
        self.server.certificate = certificate.from_files(cert, key) if cert else certificate.new()
        return {"fingerprint": self.server.certificate.fingerprint}

    def do_remove(self, store, snapshot, ns="", force=False):
        self.server.stores[store].remove(ns, snapshot, force)

    def do_freeze(self):
        self.server.freeze(True)

    def do_thaw(self):
        self.server.freeze(False)

    def do_stop(self, how="fin"):
        self.server.stop(how)

    def do_start(self):
        self.server.start()

    def do_restart(self, seconds, how="fin"):
        self.server.restart_after(seconds, how)

    def do_counters(self, reset=False):
        shown = self.server.counters.shown()
        if reset:
            self.server.counters.reset()
        return {**shown, "open": sorted(c.number for c in self.server.all_connections()),
                "hits": self.server.faults.hits()}

    def answer(self, line):
        try:
            words = json.loads(line)
            done = getattr(self, f"do_{words.pop('do')}")(**words)
            return {"ok": True, **(done or {})}
        except Exception as why:  # pylint: disable=broad-except
            return {"error": f"{type(why).__name__}: {why}"}


def listen(server):
    """Its port."""
    control = Control(server)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            for line in self.rfile:
                self.wfile.write(json.dumps(control.answer(line)).encode() + b"\n")

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True

    listener = Listener(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    return listener.server_address[1]
