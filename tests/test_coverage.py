"""The page of what is covered names nothing that is not there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from test_house import REPOSITORY, commands

PAGE = (REPOSITORY / "docs" / "coverage.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not re.match(r"\|[-|]+\|$", line) and not line.startswith("| what ")
]
TESTS = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("file", "name"), TESTS)
def test_a_test_that_is_named_is_there(file, name):
    assert name in functions(REPOSITORY / "tests" / file)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(avcd\.[\w.]+)`", PAGE))))
def test_a_function_that_is_named_is_there(name):
    module, _, function = name.rpartition(".")
    assert hasattr(importlib.import_module(module), function)


def test_commands_and_files_that_are_named_are_there():
    there = {path[0] for path, _ in commands()}
    assert {one.split()[0] for one in re.findall(r"`avcd ([^`]+)`", PAGE)} <= there
    for path in re.findall(r"`(config/[\w/.]+)`", PAGE):
        assert (REPOSITORY / path).exists(), path


def test_every_row_has_its_test_or_says_that_there_is_none_yet():
    assert len(ROWS) > 80
    bare = [row[0] for row in ROWS if "::" not in row[-1] and "not yet" not in " ".join(row[1:])]
    assert not bare
