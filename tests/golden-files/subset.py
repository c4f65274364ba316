#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Takes this directory's part of two large golden datastores: subset.py DATASTORE ITS-TABLES DATASTORE ITS-TABLES."""
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PARTS = [[("a/b", "host/nshost/2024-06-02T00:00:05Z", "root.pxar.didx")],
         [("a/b", "host/nshost/2025-01-01T00:00:05Z", "links.mpxar.didx"),
          ("a/b", "host/nshost/2025-01-01T00:00:05Z", "links.ppxar.didx"),
          ("-", "vm/201/2025-01-01T00:00:00Z", "names.mpxar.didx"),
          ("-", "vm/201/2025-01-01T00:00:00Z", "names.ppxar.didx"),
          ("-", "vm/203/2025-01-01T00:00:00Z", "names.mpxar.didx"),
          ("-", "vm/203/2025-01-01T00:00:00Z", "names.ppxar.didx")]]


def namespace_path(ns):
    return "" if ns == "-" else "".join(f"ns/{part}/" for part in ns.split("/"))


def digests(path):
    with open(path, "rb") as index:
        table = index.read()[4096:]
    return {table[at + 8:at + 40].hex() for at in range(0, len(table), 40)}


def copy(source, target, name):
    path = os.path.join(target, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copyfile(os.path.join(source, name), path)


def copy_part(store, tables, files):
    target = os.path.join(HERE, "datastore")
    copy(store, target, ".lock")
    with open(os.path.join(tables, "archives.tsv"), encoding="utf-8") as text:
        head, *rows = text.read().splitlines()
    rows = [row for row in rows if tuple(row.split("\t")[:3]) in files]
    for ns, snapshot, name in files:
        directory = namespace_path(ns) + snapshot
        copy(store, target, os.path.join(os.path.dirname(directory), "owner"))
        copy(store, target, os.path.join(directory, "index.json.blob"))
        copy(store, target, os.path.join(directory, name))
        for digest in digests(os.path.join(store, directory, name)):
            copy(store, target, f".chunks/{digest[:4]}/{digest}")
    for row in rows:
        if row.split("\t")[7] != "-":
            copy(tables, HERE, f"manifest-{row.split(chr(9))[7]}.jsonl")
    for name in ("key-none.json", "key-scrypt.json", "passwords.txt"):
        copy(os.path.join(tables, "keys"), os.path.join(HERE, "keys"), name)
    return head, rows


def main():
    table = []
    for files, store, tables in zip(PARTS, sys.argv[1::2], sys.argv[2::2]):
        head, rows = copy_part(store, tables, files)
        table += rows
    with open(os.path.join(HERE, "archives.tsv"), "w", encoding="utf-8") as text:
        text.write("\n".join([head, *table, ""]))
    with open(os.path.join(HERE, "fsinfo.json"), "w", encoding="utf-8") as text:
        text.write("{}\n")


if __name__ == "__main__":
    main()
