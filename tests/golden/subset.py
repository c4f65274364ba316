#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Takes this directory's part of a large golden datastore: subset.py UNPACKED-DATASTORE ITS-TABLES."""
import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SNAPSHOTS = [("-", "host/plain/2024-06-02T00:00:00Z"), ("-", "vm/100/2024-06-03T00:00:00Z"),
             ("-", "vm/200/2024-06-03T00:00:00Z"), ("-", "vm/201/2024-06-02T00:00:00Z"),
             ("-", "vm/202/2024-06-02T00:00:00Z"), ("-", "vm/203/2024-06-02T00:00:00Z"),
             ("-", "vm/204/2024-06-02T00:00:00Z"), ("a/b", "vm/100/2024-06-02T00:00:07Z")]
KEYS = ["key-none.json", "key-pbkdf2.json", "key-scrypt.json", "key-wrong.json", "passwords.txt"]


def namespace_path(ns):
    return "" if ns == "-" else "".join(f"ns/{part}/" for part in ns.split("/"))


def digests(path):
    """Of a fixed index; there is no dynamic one among these."""
    with open(path, "rb") as index:
        table = index.read()[4096:]
    return {table[at:at + 32].hex() for at in range(0, len(table), 32)}


def copy(source, target, name):
    path = os.path.join(target, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(os.path.join(source, name), path)


def copy_snapshots(store, target):
    copy(store, target, ".lock")
    chunks = set()
    for ns, snapshot in SNAPSHOTS:
        directory = namespace_path(ns) + snapshot
        copy(store, target, os.path.join(os.path.dirname(directory), "owner"))
        for name in sorted(os.listdir(os.path.join(store, directory))):
            copy(store, target, os.path.join(directory, name))
            if name.endswith(".fidx"):
                chunks |= digests(os.path.join(store, directory, name))
    for digest in sorted(chunks):
        copy(store, target, f".chunks/{digest[:4]}/{digest}")
    return len(chunks)


def copy_tables(tables):
    with open(os.path.join(tables, "archives.tsv"), encoding="utf-8") as text:
        head, *rows = text.read().splitlines()
    rows = [row for row in rows if tuple(row.split("\t")[:2]) in SNAPSHOTS]
    inputs = {row.split("\t")[7] for row in rows}
    with open(os.path.join(HERE, "archives.tsv"), "w", encoding="utf-8") as text:
        text.write("\n".join([head, *rows, ""]))
    with open(os.path.join(tables, "images.tsv"), encoding="utf-8") as text:
        head, *rows = text.read().splitlines()
    rows = [row for row in rows if row.split("\t")[0] in inputs]
    with open(os.path.join(HERE, "images.tsv"), "w", encoding="utf-8") as text:
        text.write("\n".join([head, *rows, ""]))
    with open(os.path.join(tables, "fsinfo.json"), encoding="utf-8") as text:
        known = json.load(text)
    # Made from it: what has changed is outside of the files.
    known["parts-v2.img"] = known["parts.img"]
    with open(os.path.join(HERE, "fsinfo.json"), "w", encoding="utf-8") as text:
        json.dump({name: info for name, info in known.items() if name in inputs}, text, indent=1)
        text.write("\n")
    for name in KEYS:
        copy(os.path.join(tables, "keys"), os.path.join(HERE, "keys"), name)


def main():
    store, tables = sys.argv[1:]
    print(copy_snapshots(store, os.path.join(HERE, "datastore")), "chunks")
    copy_tables(tables)


if __name__ == "__main__":
    main()
