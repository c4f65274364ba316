# SPDX-License-Identifier: Apache-2.0
"""The golden datastores: what is in them, by the tables that came with them."""
import csv
import glob
import json
import os
import shutil
import subprocess

from harness import TOP


class Image:
    """One row of archives.tsv that is a disk image."""

    def __init__(self, golden, row):
        self.golden = golden
        self.ns = "" if row["ns"] == "-" else row["ns"]
        self.snapshot = row["snapshot"]
        self.archive = row["server-file"].removesuffix(".fidx")
        self.mode = row["crypt-mode"]
        self.key = None if row["keyfile"] == "-" else row["keyfile"]
        self.size = int(row["content-size"])
        self.sha256 = row["sha256-of-decoded-content"]
        self.index_sha256 = row["sha256-of-file-in-datastore"]
        self.input = row["source-input"]

    def __repr__(self):
        return "-".join(filter(None, [self.golden.name, self.ns.replace("/", "+"), *self.snapshot.split("/"),
                                      self.archive]))

    def arguments(self):
        """What names this image on the command line, key included."""
        key = ["--keyfile", self.golden.key(self.key)] if self.key else []
        ns = ["--ns", self.ns] if self.ns else []
        return ["--repository", self.golden.store, *ns, *key, self.snapshot, self.archive]

    def env(self):
        password = self.golden.passwords.get(self.key)
        return {"PBS_ENCRYPTION_PASSWORD": password} if password else {}


class Tree(Image):
    """One row of archives.tsv that is a file archive; of a split one that of its entries."""

    def __init__(self, golden, row):
        super().__init__(golden, row)
        self.is_split = row["server-file"].endswith(".mpxar.didx")
        self.archive = row["server-file"].removesuffix(".didx").replace(".mpxar", ".pxar")

    def manifest(self):
        """What it must contain: a row for each path."""
        name = self.input if self.input.endswith(".jsonl") else f"manifest-{self.input}.jsonl"
        with open(self.golden.table(name), encoding="utf-8") as rows:
            rows = [json.loads(row) for row in rows]
        return {bytes.fromhex(row["path_hex"]): row for row in rows}


class Golden:
    """A datastore directory and its tables; `store` is set by unpack()."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        self.store = None
        with open(self.table("archives.tsv"), encoding="utf-8") as rows:
            names = next(rows).removeprefix("#").rstrip("\n").split("\t")
            self.archives = list(csv.DictReader(rows, names, delimiter="\t"))
        with open(self.table("fsinfo.json"), encoding="utf-8") as text:
            self.file_systems = json.load(text)
        self.passwords = {}
        with open(self.table("keys/passwords.txt"), encoding="utf-8") as rows:
            self.passwords.update(row.split() for row in rows if row.strip())
        self.trees = [Tree(self, row) for row in self.archives
                      if row["server-file"].endswith((".pxar.didx", ".mpxar.didx"))]
        self.images = [Image(self, row) for row in self.archives if row["server-file"].endswith(".img.fidx")]

    def table(self, name):
        return os.path.join(self.directory, name)

    def key(self, name):
        return self.table(os.path.join("keys", name))

    def unpack(self, directory):
        """A private copy below @directory, that other users may read as well."""
        target = os.path.join(directory, self.name)
        packed = glob.glob(self.table("datastore-*.tar.zst"))
        if packed:
            os.mkdir(target)
            subprocess.run(["tar", "--zstd", "-xf", packed[0], "-C", target], check=True, timeout=300)
            self.store = glob.glob(os.path.join(target, "*", ".chunks"))[0].removesuffix("/.chunks")
        else:
            shutil.copytree(self.table("datastore"), target)
            self.store = target
        subprocess.run(["chmod", "-R", "a+rX", target], check=True, timeout=300)

    def image(self, snapshot, archive, ns=""):
        found = [i for i in self.images if (i.ns, i.snapshot, i.archive) == (ns, snapshot, archive)]
        assert len(found) == 1, f"{ns}:{snapshot}/{archive} in {self.directory}"
        return found[0]


def golden_sets():
    """The large ones where PBSMAP_GOLDEN names them, else the small one of this repository."""
    large = os.environ.get("PBSMAP_GOLDEN")
    if large:
        found = sorted(glob.glob(os.path.join(large, "*", "datastore-*.tar.zst")))
        return [Golden(os.path.basename(os.path.dirname(path)), os.path.dirname(path)) for path in found]
    small = [os.path.join(TOP, "tests", name) for name in ("golden", "golden-files")]
    return [Golden(os.path.basename(path), path) for path in small
            if os.path.exists(os.path.join(path, "archives.tsv"))]


SETS = golden_sets()
TREES = [tree for golden in SETS for tree in golden.trees]
IMAGES = [image for golden in SETS for image in golden.images]
