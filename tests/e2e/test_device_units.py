# SPDX-License-Identifier: Apache-2.0
"""The unit tests of what talks with the kernel, under the kernel of tests/vm: it knows partition tables itself."""
import os

import pytest

from harness import BUILD

pytestmark = pytest.mark.vm


@pytest.mark.parametrize("name", ["loop", "block_partitions", "fuse_mount"])
def test_unit_tests_pass_and_none_is_skipped(s, name):
    # Overlays, which /tmp is one of there, say that they can do direct I/O and then cannot.
    result = s.run(os.path.join(BUILD, "tests", "unit", "export", f"test_export_{name}"),
                   env={"TMPDIR": "/dev/shm"}, timeout=300)
    assert "[       OK ]" in result.out + result.err
    assert "SKIPPED" not in result.out + result.err, result
