# SPDX-License-Identifier: Apache-2.0
"""The REST API: log-in, lists, and the way into a reader session; the checks in the real server's order and words."""
import dataclasses
import json
import re
import urllib.parse

import http1
from accounts import USER, Denied, is_owner
from answer import Answer, BytesBody, Refused
from store import SAFE_ID, TYPES, Session, name_of, open_blob

PROTOCOL = "proxmox-backup-reader-protocol-v1"
NAMESPACE = re.compile(r"\Z|[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,6}\Z")
READERS_REFUSED_IN = ("offline", "delete", "unmount", "s3-refresh")
EXPIRED_COOKIE = ("set-cookie", "__Host-PBSAuthCookie=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; SameSite=Lax; "
                  "HttpOnly; Path=/;")


# Parameters: a function for each kind, that returns the value or says what is wrong with it.

def bad_parameter(name, why):
    return Refused(400, f"parameter verification failed - '{name}': {why}")


def matches(pattern):
    def check(_name, value, _version):
        if not pattern.match(value):
            raise ValueError("value does not match the regex pattern")
        return value
    return check


def text(_name, value, _version):
    return value


def backup_type(_name, value, version):
    if value not in TYPES:
        if version == 4:
            raise Refused(400, f"unknown variant `{value}`, expected one of `vm`, `ct`, `host`")
        raise ValueError(f"value '{value}' is not defined in the enumeration.")
    return value


def integer(lowest, highest):
    def check(_name, value, _version):
        if not re.match(r"-?[0-9]+\Z", value):
            raise ValueError("invalid digit found in string")
        if not lowest <= int(value) <= highest:
            raise ValueError(f"value must have a value between {lowest} and {highest}")
        return int(value)
    return check


def boolean(_name, value, _version):
    if value.lower() not in ("1", "on", "yes", "true", "0", "off", "no", "false"):
        raise ValueError("value is not a valid boolean")
    return value.lower() in ("1", "on", "yes", "true")


KINDS = {
    "username": matches(USER), "password": text, "http-only": boolean,
    "ns": matches(NAMESPACE), "parent": matches(NAMESPACE), "max-depth": integer(0, 7),
    "backup-type": backup_type, "backup-id": matches(SAFE_ID), "backup-time": integer(1, 253402300799),
    "store": matches(SAFE_ID), "debug": boolean, "file-name": matches(SAFE_ID),
    "digest": matches(re.compile(r"[0-9a-f]{64}\Z")),
}
SNAPSHOT = ("backup-type", "backup-id", "backup-time")


def verified(pairs, needed, optional, version):
    """@pairs as a dictionary, each checked; nothing may be missing, unknown or there twice."""
    found = {}
    for name, value in pairs:
        if name in found:
            raise bad_parameter(name, "duplicate parameter.")
        if name not in needed and name not in optional:
            raise bad_parameter(name, "schema does not allow additional properties.")
        try:
            found[name] = KINDS[name](name, value, version)
        except ValueError as why:
            raise bad_parameter(name, why) from why
    for name in needed:
        if name not in found:
            raise bad_parameter(name, "parameter is missing and it is not optional.")
    return found


def pairs_of(query):
    return urllib.parse.parse_qsl(query, keep_blank_values=True)


def pairs_of_body(request):
    if not request.headers.get("content-type", "").startswith("application/json"):
        return pairs_of(request.body.decode("utf-8", "replace"))
    try:
        found = json.loads(request.body)
        return [(name, str(value)) for name, value in found.items()]
    except (ValueError, AttributeError) as why:
        raise Refused(400, f"unable to parse JSON parameters: {why}") from why


# Answers

def json_answer(data, **more):
    data = json.dumps({"data": data, **more}, separators=(",", ":"), ensure_ascii=False).encode()
    return Answer(200, BytesBody(data), http1.JSON)


@dataclasses.dataclass
class Call:
    """What an endpoint gets."""
    server: object
    request: object
    auth_id: str
    pairs: list
    store_name: str = None

    def verified(self, needed=(), optional=()):
        return verified(self.pairs, needed, optional, self.server.version)

    @property
    def rights(self):
        return self.server.accounts.rights_of(self.auth_id)

    def store_to_list(self, ns=""):
        """The datastore, for somebody who may list it."""
        path = f"/datastore/{self.store_name}" + (f"/{ns}" if ns else "")
        if not self.rights & {"Audit", "Backup"}:
            raise Refused(403, f"permission check failed - missing Datastore.Audit|Datastore.Backup on {path}")
        return self.server.store(self.store_name)

    def is_visible(self, owner):
        return "Audit" in self.rights or is_owner(self.auth_id, owner)

    def check_owner(self, owner):
        if not self.is_visible(owner):
            raise Refused(400, f"backup owner check failed ({self.auth_id} != {owner})")


def ticket(call):
    version = call.server.version
    if version == 4 and "password" not in dict(call.pairs):
        raise Refused(400, "no password provided")
    given = call.verified(("username", "password"), ("http-only",) if version == 4 else ())
    user, accounts = given["username"], call.server.accounts
    call.server.counters.add("logins")
    issued = accounts.login(user, given["password"])
    data = {"CSRFPreventionToken": accounts.csrf_for(user), "ticket": issued, "username": user}
    if version != 4:
        return json_answer(data)
    if given.get("http-only"):
        data["ticket-info"] = data.pop("ticket").rpartition("::")[0]
    answer = json_answer(data, status=200, success=True)
    answer.content_type = "application/json"
    if given.get("http-only"):
        answer.headers.append(("set-cookie", f"__Host-PBSAuthCookie={urllib.parse.quote(issued, safe=':@=+/')}; "
                               "Secure; SameSite=Lax; HttpOnly; Path=/;"))
    return answer


def version_info(call):
    call.verified()
    release, number = ("3", "4.2") if call.server.version == 4 else ("4", "3.2")
    return json_answer({"release": release, "repoid": "pbsd", "version": number})


def datastores(call):
    call.verified()
    more = {"backend-type": "filesystem", "mount-status": "nonremovable"} if call.server.version == 4 else {}
    names = list(call.server.stores) if call.rights else ()
    return json_answer([{**more, "comment": None, "store": name} for name in names])


def status(call):
    call.verified()
    more = {"backend-type": "filesystem"} if call.server.version == 4 else {}
    return json_answer({**call.store_to_list().status(), **more})


def namespaces(call):
    given = call.verified((), ("parent", "max-depth"))
    parent = given.get("parent", "")
    store = call.store_to_list(parent)
    return json_answer([{"ns": ns} for ns in store.namespaces(parent, given.get("max-depth", 7))])


def groups(call):
    ns = call.verified((), ("ns",)).get("ns", "")
    return json_answer(call.store_to_list(ns).groups(ns, call.is_visible))


def snapshots(call):
    given = call.verified((), ("ns", "backup-type", "backup-id"))
    ns = given.get("ns", "")
    answer = json_answer(call.store_to_list(ns).snapshots(ns, given.get("backup-type"), given.get("backup-id"),
                                                          call.is_visible))
    answer.has_length = False  # it is streamed
    return answer


def snapshot_to_list(call, given):
    ns = given.get("ns", "")
    store = call.store_to_list(ns)
    path = store.snapshot_path(ns, *(given[name] for name in SNAPSHOT))
    if not store.has_snapshot(path):
        raise Refused(400, "ENOENT: No such file or directory")
    call.check_owner(store.owner(path))
    return store, path


def files(call):
    store, path = snapshot_to_list(call, call.verified(SNAPSHOT, ("ns",)))
    return json_answer([dict(sorted(file.items())) for file in store.files(path)])


def download(call):
    given = call.verified((*SNAPSHOT, "file-name"), ("ns",))
    store, path = snapshot_to_list(call, given)
    body = open_blob(store, f"{path}/{given['file-name']}")
    return Answer(200, body, "application/octet-stream", has_length=False)


def reader(call):
    """The upgrade; its checks in the order of the real server."""
    given = call.verified(("store", *SNAPSHOT), ("ns", "debug"))
    server, name, ns = call.server, given["store"], given.get("ns", "")
    if not call.rights & {"Read", "Backup"}:
        raise Refused(400, f"no permissions on /datastore/{name}" + (f"/{ns}" if ns else ""))
    store = server.store(name)
    check_maintenance(store, server.version)
    protocol = call.request.headers.get("upgrade")
    if protocol is None:
        raise Refused(400, "missing Upgrade header")
    if protocol != PROTOCOL:
        raise Refused(400, "invalid protocol name")
    path = store.snapshot_path(ns, *(given[part] for part in SNAPSHOT))
    if "Read" not in call.rights and not is_owner(call.auth_id, store.owner(path)):
        raise Refused(400, "backup owner check failed!")
    if not store.has_snapshot(path):
        raise Refused(400, f"snapshot {given['backup-type']}/{given['backup-id']}/{name_of(given['backup-time'])}"
                           " does not exist.")
    call.request.connection.session = Session(store, path, server.version)
    return Answer(101, BytesBody(b""), headers=[("connection", "upgrade"), ("upgrade", PROTOCOL)])


def check_maintenance(store, version):
    if not store.maintenance or store.maintenance[0] not in READERS_REFUSED_IN:
        return
    mode, words = store.maintenance
    what = {"delete": "datastore is being deleted", "s3-refresh": f"S3 refresh maintenance mode: {words}"}.get(
        mode, f"{mode} maintenance mode: {words}")
    raise Refused(400, f"datastore '{store.name}' is {'unavailable: ' if version == 4 else 'in '}{what}")


FIXED = {
    ("POST", "access/ticket"): ticket,
    ("GET", "version"): version_info,
    ("GET", "admin/datastore"): datastores,
    ("GET", "reader"): reader,
}
OF_A_STORE = {
    "status": status, "namespace": namespaces, "groups": groups, "snapshots": snapshots, "files": files,
    "download": download,
}


def route(method, path):
    """(function, store name) behind /api2/json/@path; (None, None) if there is none."""
    function = FIXED.get((method, path))
    parts = path.split("/")
    if not function and method == "GET" and len(parts) == 4 and parts[:2] == ["admin", "datastore"]:
        return OF_A_STORE.get(parts[3]), parts[2]
    return function, None


def components_of(path):
    parts = [part for part in path.split("/") if part]
    if any(part.startswith(".") for part in parts):
        raise Refused(400, "illegal path component", is_typed=False)
    return [urllib.parse.unquote(part) for part in parts]


def authenticated(server, request):
    try:
        return server.accounts.authenticate(request.method, request.headers)
    except Denied as why:
        said = "authentication failed" + ("" if server.version == 4 else f" - {why}")
        raise Refused(401, said, is_typed=False) from why


def called(server, request):
    path, _, query = request.target.partition("?")
    parts = components_of(path)
    if parts[:2] != ["api2", "json"]:
        raise Refused(404, f"no such file: '{'/'.join(parts)}'", is_typed=False)
    function, store_name = route(request.method, "/".join(parts[2:]))
    if function is ticket:
        return ticket(Call(server, request, None, pairs_of_body(request)))
    auth_id = authenticated(server, request)
    if not function:
        raise Refused(404, f"Path '/{'/'.join(parts)}' not found.")
    return function(Call(server, request, auth_id, pairs_of(query), store_name))


def answer(server, request):
    """What the real server says to @request."""
    try:
        return called(server, request)
    except Refused as why:
        return refusal(server, why)


def refusal(server, why):
    said = http1.text_answer(why.status, why.text, why.is_typed)
    said.wait = server.penalty(why.status)
    if why.status == 401 and server.version == 4 and not why.is_typed:
        said.headers.append(EXPIRED_COOKIE)
    return said
