"""Calling the command line as a person would, in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from avcd.cli import main


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: it is there alone, or this fails."""
        return json.loads(self.out)


class Call:
    """``call("frames", "--limit", 3)`` is ``avcd frames --limit 3``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: object) -> Said:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(one) for one in words])
        captured = self._capsys.readouterr()
        code = end.value.code
        return Said(code if isinstance(code, int) else 0 if code is None else 1, captured.out, captured.err)
