# SPDX-License-Identifier: Apache-2.0
"""Who may do what: passwords, API tokens, tickets and rights."""
import base64
import hashlib
import hmac
import os
import re
import threading
import time
import urllib.parse

from answer import Refused

LIFETIME = 7200  # seconds
CLOCK_SKEW = 300  # seconds a ticket may be ahead
USER = re.compile(r"[^\s:/\x00-\x1f]+@[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
TOKEN = re.compile(r"([^\s:/\x00-\x1f]+@[A-Za-z0-9_][A-Za-z0-9._-]*)!([A-Za-z0-9_][A-Za-z0-9._-]*)\Z")
TICKET = re.compile(r"PBS:([^:]+):([0-9A-F]{8})::([A-Za-z0-9+/]+)\Z")
COOKIES = ("__Host-PBSAuthCookie", "PBSAuthCookie")  # the first one wins

ROLES = {
    "admin": {"Audit", "Read", "Backup", "Modify"},
    "reader": {"Audit", "Read"},
    "backup": {"Backup"},  # own groups only
    "none": set(),
}


class Denied(Exception):
    """Credentials that are no good; the text is the reason a 3.x server gives."""


def signature(key, kind, text):
    mac = hmac.digest(key, text.encode(), kind)
    return base64.b64encode(mac).decode().rstrip("=")


class Accounts:
    def __init__(self, key):
        self.lock = threading.Lock()
        self.keys = [key]  # the newest last; what an older one signed is expired. Guarded by lock
        self.passwords = {}
        self.secrets = {}  # auth id of a token: its secret
        self.roles = {}
        self.refuses_logins = False
        self.wants_second_factor = False

    def add_user(self, name, password, role):
        self.passwords[name] = password
        self.roles[name] = ROLES[role]

    def add_token(self, name, secret):
        self.secrets[name] = secret
        self.roles[name] = self.roles[name.partition("!")[0]]

    def rights_of(self, auth_id):
        return self.roles[auth_id]

    # Tickets

    def ticket_for(self, user, now=None):
        head = f"PBS:{urllib.parse.quote(user, safe='@!')}:{int(now or time.time()):08X}"
        return f"{head}::{signature(self.keys[-1], hashlib.sha512, head)}"

    def csrf_for(self, user):
        head = f"{int(time.time()):08X}"
        return f"{head}:{signature(self.keys[-1], hashlib.sha256, head + ':' + user)}"

    def expire_tickets(self):
        with self.lock:
            self.keys.append(os.urandom(32))

    def user_of_ticket(self, ticket):
        match = TICKET.match(ticket)
        if not match:
            raise Denied("invalid ticket")
        user, stamp, mac = match.groups()
        age = time.time() - int(stamp, 16)
        if age > LIFETIME:  # the real one looks at the time first, too
            raise Denied("invalid ticket - expired")
        if age < -CLOCK_SKEW:
            raise Denied("invalid ticket - timestamp newer than expected")
        with self.lock:
            keys = list(self.keys)
        good = [key for key in keys
                if hmac.compare_digest(mac, signature(key, hashlib.sha512, f"PBS:{user}:{stamp}"))]
        if not good:
            raise Denied("ticket with invalid signature")
        if good[0] != keys[-1]:
            raise Denied("invalid ticket - expired")
        return urllib.parse.unquote(user)

    def is_csrf_good(self, user, token):
        head, _, mac = token.partition(":")
        return hmac.compare_digest(mac, signature(self.keys[-1], hashlib.sha256, f"{head}:{user}"))

    # Questions of the API

    def login(self, user, password):
        """The ticket, for a password or for a ticket that is still good."""
        try:
            if password.startswith("PBS:"):
                is_good = self.user_of_ticket(password) == user
            else:
                is_good = hmac.compare_digest(self.passwords.get(user, "").encode(), password.encode())
        except Denied:
            is_good = False
        if not is_good or user not in self.passwords or self.refuses_logins:
            raise Refused(401, "permission check failed.")
        if self.wants_second_factor:
            return f"PBS:!tfa!{urllib.parse.quote('{}')}:{int(time.time()):08X}::" + "A" * 86
        return self.ticket_for(user)

    def authenticate(self, method, headers):
        """The auth id a request comes from."""
        ticket = ticket_in(headers.get("cookie", ""))
        if ticket is not None:
            user = self.user_of_ticket(ticket)
            if method != "GET":
                self.check_csrf(user, headers.get("csrfpreventiontoken"))
        elif headers.get("authorization", "").startswith(("PBSAPIToken ", "PBSAPIToken=")):
            return self.token_in(headers["authorization"][len("PBSAPIToken "):])
        else:
            raise Denied("no authentication credentials provided.")
        if user not in self.passwords:
            raise Denied("user account disabled or expired.")
        return user

    def check_csrf(self, user, token):
        if token is None:
            raise Denied("missing CSRF prevention token")
        if not self.is_csrf_good(user, token):
            raise Denied("invalid CSRF prevention token")

    def token_in(self, text):
        name, _, secret = urllib.parse.unquote(text).partition(":")
        if not TOKEN.match(name):
            raise Denied("invalid token name")
        if name not in self.secrets:
            raise Denied("user account or token disabled or expired.")
        if not hmac.compare_digest(self.secrets[name].encode(), secret.encode()):
            raise Denied("invalid credentials")
        return name


def ticket_in(cookies):
    pairs = dict(part.strip().partition("=")[::2] for part in cookies.split(";"))
    found = [pairs[name] for name in COOKIES if name in pairs]
    return urllib.parse.unquote(found[0]) if found else None


def is_owner(auth_id, owner):
    """A user owns what its tokens own; a token only what is its own."""
    return auth_id == owner or owner.startswith(auth_id + "!")
