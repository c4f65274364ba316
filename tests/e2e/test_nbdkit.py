# SPDX-License-Identifier: Apache-2.0
"""nbdkit pbs: the plugin, and nbdkit's filters on what it shows."""
import json
import os
import shutil

import pytest

from golden import IMAGES
from harness import BUILD, CHUNK, IS_SANITIZED, contents_of, sha256_of
from test_damage import ZEROS, chunk_path, digests
from test_images import partitions

SNAPSHOT = "vm/100/2024-06-03T00:00:00Z"
PLUGIN = os.path.join(BUILD, "nbdkit", "nbdkit-pbs-plugin.so")


@pytest.fixture(autouse=True)
def nbdkit():
    if not shutil.which("nbdkit") or not os.path.exists(PLUGIN):
        pytest.skip("no nbdkit, or its plugin is not built")
    if IS_SANITIZED:
        pytest.skip("nbdkit itself is not built with a sanitizer")


@pytest.fixture
def image(golden):
    return golden.image(SNAPSHOT, "drive-scsi0.img")


def words(image):
    key = [f"keyfile={image.golden.key(image.key)}"] if image.key else []
    ns = [f"ns={image.ns}"] if image.ns else []
    return [f"repository={image.golden.store}", *ns, *key, f"snapshot={image.snapshot}", f"archive={image.archive}"]


def run(s, image, script, *options, **more):
    """A command for the shell, with $uri, while nbdkit serves the image."""
    return s.run("nbdkit", "-U", "-", PLUGIN, *words(image), *options, "--run", script, **more)


@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_every_image_comes_out_byte_for_byte(s, image):
    run(s, image, f"nbdcopy \"$uri\" {s.path('copy')}", env=image.env())
    assert sha256_of(s.path("copy")) == image.sha256


def test_in_the_background(s, image):
    """Threads begin behind the fork."""
    s.run("nbdkit", "-U", s.path("sock"), "-P", s.path("pid"), PLUGIN, *words(image))
    with open(s.path("pid"), encoding="ascii") as text:
        pid = int(text.read())
    s.run("nbdcopy", f"nbd+unix:///?socket={s.path('sock')}", s.path("copy"))
    assert sha256_of(s.path("copy")) == image.sha256
    s.kill(pid, 15)


def test_zero_chunks_are_holes(s, image):
    rows = json.loads(run(s, image, 'nbdinfo --json --map "$uri"').out)
    run(s, image, f"nbdcopy \"$uri\" {s.path('copy')}")
    expected = contents_of(s.path("copy"))
    zeros = [off for off in range(0, image.size - CHUNK + 1, CHUNK) if not any(expected[off:off + CHUNK])]
    assert zeros == [off for row in rows if row["type"] == 3
                     for off in range(row["offset"], row["offset"] + row["length"], CHUNK)]


def test_what_clients_are_told(s, image):
    told = json.loads(run(s, image, 'nbdinfo --json "$uri"').out)["exports"][0]
    assert told["export-size"] == image.size
    assert told["is_read_only"] and told["can_multi_conn"] and told["can_cache"]


def test_damage_is_an_error_of_what_touches_it(s, store):
    index = next(i for i, digest in enumerate(digests(store)) if digest != ZEROS)
    with open(chunk_path(store, digests(store)[index]), "r+b") as chunk:
        chunk.seek(100)
        chunk.write(b"\xff" * 20)
    good = next(i for i, digest in enumerate(digests(store)) if digest not in (ZEROS, digests(store)[index]))
    script = f'qemu-io -r -f raw -c "read {index * CHUNK} 4k" "$uri"; qemu-io -r -f raw -c "read {good * CHUNK} 4k" "$uri"'
    result = s.run("nbdkit", "-U", "-", PLUGIN, f"repository={store}", f"snapshot={SNAPSHOT}", "archive=drive-scsi1.img",
                   "--run", script, check=False)
    assert "read failed: Input/output error" in result.out + result.err
    assert "read 4096/4096 bytes" in result.out


@pytest.mark.parametrize("more", [["--filter=cow"], ["--filter=cache"], ["--filter=readahead"]])
def test_filters_that_change_nothing(s, image, more):
    run(s, image, f"nbdcopy \"$uri\" {s.path('copy')}", *more)
    assert sha256_of(s.path("copy")) == image.sha256


def test_a_copy_on_write_layer_can_be_written(s, image):
    run(s, image, 'qemu-io -f raw -c "write -P 0x5a 1M 64k" -c "read -P 0x5a 1M 64k" "$uri"', "--filter=cow")
    run(s, image, f"nbdcopy \"$uri\" {s.path('copy')}")
    assert sha256_of(s.path("copy")) == image.sha256


@pytest.mark.parametrize("image", [i for i in IMAGES if partitions(i) and i.input.startswith("parts")][:1], ids=repr)
def test_a_file_in_a_file_system_in_a_partition(s, image):
    number, part = next((n, part) for n, part in partitions(image) if part["fs"] == "ext4")
    name, sha256 = next(iter(sorted(part["files"].items())))
    run(s, image, f"nbdcopy \"$uri\" {s.path('file')}", "--filter=ext2", "--filter=partition", f"ext2file=/{name}",
        f"partition={number}", env=image.env())
    assert sha256_of(s.path("file")) == sha256


@pytest.mark.parametrize("given,says", [
    (["snapshot=vm/999", "archive=x.img"], "vm/999"), (["snapshot=vm/100"], "archive="), (["pigeon=1"], "pigeon"),
    (["snapshot=vm/100", "archive=nothing.img"], "drive-scsi0.img"), (["cache-size=lots"], "lots"),
])
def test_mistakes_are_said_before_it_goes_to_the_background(s, golden, given, says):
    result = s.run("nbdkit", "-U", s.path("sock"), PLUGIN, f"repository={golden.store}", *given, check=False)
    assert result.status != 0 and says in result.err
    assert not os.path.exists(s.path("sock"))
