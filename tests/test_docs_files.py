"""What docs/files.md tells people to type does what it says, in its order, in an empty directory with a few frames."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from cli_calls import Call
from exposures import make_night, make_panels

PAGE = Path(__file__).resolve().parent.parent / "docs" / "files.md"


def examples() -> list[tuple[str, str]]:
    """(what is typed, what is printed) of every example."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, printed = part.partition("\n")
            found.append((typed, printed))
    return found


def words(typed: str, directory: Path) -> list[str]:
    """What a shell makes of a line."""
    found: list[str] = []
    for word in shlex.split(typed)[1:]:
        names = sorted(str(one.relative_to(directory)) for one in directory.glob(word)) if "*" in word else []
        found += names or [word]
    return found


def test_every_example_of_the_page_prints_what_it_shows(capsys, tmp_path, monkeypatch):
    make_panels(make_night(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AVCD_HOME", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    call = Call(capsys)
    assert len(examples()) > 10
    for typed, printed in examples():
        said = call(*words(typed, tmp_path))
        assert said.code == 0, said.err
        assert said.out == printed, typed
