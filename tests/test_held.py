"""Masters held in memory: read once, read again when their file has changed, and no more than may be held."""

from __future__ import annotations

import os

import numpy as np
import pytest

from avcd.errors import FrameError
from avcd.reduction.planes import MaskedImage
from avcd.stages.held import HeldMasters


@pytest.fixture
def reader(tmp_path):
    """A master's file, what reads it, and how often it did."""
    calls: list[str] = []

    def get(held: HeldMasters, name: str, part: tuple[object, ...] = ("bias", "", 0)) -> MaskedImage:
        def read() -> MaskedImage:
            calls.append(name)
            return MaskedImage(np.zeros((100, 100), np.float32), unit="adu")

        return held.get(tmp_path / name, part, read)

    for name in "abc":
        (tmp_path / name).write_bytes(b"master")
    return get, calls, tmp_path


def test_a_master_is_read_once(reader):
    get, calls, _ = reader
    held = HeldMasters(2**20)
    assert get(held, "a") is get(held, "a")
    assert calls == ["a"]
    get(held, "a", ("bad_pixels", "", 0))  # another reading of the same file is another thing
    assert calls == ["a", "a"]


def test_a_file_that_has_changed_is_read_again(reader):
    get, calls, path = reader
    held = HeldMasters(2**20)
    first = get(held, "a")
    os.utime(path / "a", ns=(1, 1))
    assert get(held, "a") is not first
    (path / "a").write_bytes(b"another master")
    get(held, "a")
    assert calls == ["a"] * 3


def test_no_more_is_held_than_may_be(reader):
    get, calls, _ = reader
    held = HeldMasters(2 * 4 * 10_000)
    for name in "abab":
        get(held, name)
    assert calls == ["a", "b"]
    get(held, "c")  # what was longest not asked for goes
    for name in "bca":
        get(held, name)
    assert calls == ["a", "b", "c", "a"]
    held.limit_bytes = 0  # and all at once, where the room is needed
    assert held.held_bytes == 0
    for name in "aa":
        get(HeldMasters(), name)
    assert calls[-2:] == ["a", "a"]


def test_what_cannot_be_read_says_so_itself(tmp_path):
    def fail() -> MaskedImage:
        raise FrameError("gone")

    with pytest.raises(FrameError, match="gone"):
        HeldMasters(2**20).get(tmp_path / "gone", (), fail)
