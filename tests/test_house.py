"""The rules of the house: who imports whom, how long a module is, what the help says, what the docs promise."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from avcd.cli import build, main
from avcd.config import example_toml

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "avcd"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
# What people read or run, as it is in the repository; real headers of other observatories are none of it.
OURS = [
    path
    for pattern in ("avcd/**/*.py", "config/**/*.toml", "db/**/*.py", "docs/**/*.md", "systemd/*", "tools/*.py", "tests/**/*.py",
                    "benchmarks/*.py", "*.md", "Makefile", "constraints.txt", "pyproject.toml", ".ci/run")
    for path in sorted(REPOSITORY.glob(pattern))
]  # fmt: skip


def name_of(path: Path) -> str:
    """The module or package right below avcd that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The modules right below avcd that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module == "avcd":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("avcd."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("avcd."))
        elif isinstance(node, ast.ImportFrom) and node.level > 0:
            raise AssertionError(f"{path}:{node.lineno}: a relative import hides who imports whom")


def ranks() -> dict[str, int]:
    """The table in docs/developer.md."""
    text = (REPOSITORY / "docs" / "developer.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([a-z_, ]+) \|$", text, re.MULTILINE)
    return {name.strip(): int(rank) for rank, names in rows for name in names.split(",")}


def test_the_table_of_imports_names_every_module_once():
    actual = {name_of(path) for path in MODULES} - {"__init__", "__main__"}
    assert set(ranks()) == actual


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_imports_only_what_stands_above_it(path):
    table = ranks()
    own = name_of(path)
    if own in ("__init__", "__main__"):
        return
    wrong = [one for one in imported(path) if one in table and one != own and table[one] >= table[own]]
    assert not wrong, f"{own} (rank {table[own]}) imports {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_stays_short(path):
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 400


def test_nothing_is_left_to_be_done():
    words = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", r"raise NotImplemented" + "Error")))
    found = [f"{path}: {words.search(text).group()}" for path, text in texts() if words.search(text)]
    assert not found


def test_nothing_names_a_place_of_this_machine_or_a_registry():
    # /tmp in tests and /var/lib in the service are anybody's; these are somebody's.
    somebodys = re.compile("|".join((r"/ho" + r"me/\w", r"/ro" + r"ot/", r"/wo" + r"rk/", r"/op" + r"t/\w", "files.python" + "hosted",
                                     "extra-index" + "-url", r"file:" + "///")))  # fmt: skip
    found = [f"{path}: {somebodys.search(text).group()}" for path, text in texts() if somebodys.search(text)]
    assert not found


def texts() -> Iterator[tuple[Path, str]]:
    for path in OURS:
        if path.is_file() and path.suffix not in (".pyc", ".png"):
            yield path, path.read_text(encoding="utf-8")


def test_every_dependency_is_pinned_and_nothing_else_is_said():
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wrong = [
        one for one in lines if not one.startswith("#") and not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", one)
    ]
    assert not wrong
    pinned = {re.sub(r"[-_.]+", "-", one.split("==")[0].lower()) for one in lines if not one.startswith("#")}
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    needed = {
        re.sub(r"[-_.]+", "-", one.lower())
        for one in re.findall(r'^    "([A-Za-z0-9_-]+)(?:\[\w+\])?>=', project, re.MULTILINE)
    }
    assert len(needed) > 20
    assert needed <= pinned


def test_the_example_settings_are_those_of_the_code():
    assert (REPOSITORY / "config" / "avcd.example.toml").read_text(encoding="utf-8") == example_toml()


def commands(command=None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    command = command or typer.main.get_command(build())
    for name, one in getattr(command, "commands", {}).items():
        yield (*path, name), one
        yield from commands(one, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda one: " ".join(one) if isinstance(one, tuple) else ""
)
def test_every_command_and_option_has_help(path, command):
    assert command.help
    silent = [one.name for one in command.params if type(one).__name__.endswith("Option") and not one.help]
    assert not silent


def documented_commands() -> list[tuple[str, str]]:
    """(document, command line) of every ``$ avcd …`` in a console block."""
    found = []
    for path in DOCUMENTS:
        for block in re.findall(r"^```console\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            found += [(path.name, line[2:]) for line in block.splitlines() if line.startswith("$ avcd ")]
    return found


@pytest.mark.parametrize(("document", "line"), documented_commands())
def test_what_the_docs_tell_people_to_type_is_understood(document, line, capsys):
    words = shlex.split(re.split(r" [|>] ", line)[0])[1:]
    # Help is asked for after everything else was parsed: an unknown command or option is refused before.
    with pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert end.value.code == 0, capsys.readouterr().err


def test_an_unknown_option_would_be_noticed_in_the_docs():
    with pytest.raises(SystemExit) as end:
        main(["frames", "--no-such-option", "--help"])
    assert end.value.code == 2


def test_every_command_is_in_the_docs():
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    names = {path[0] for path, _ in commands()}
    assert {one for one in names if not re.search(rf"avcd {one}\b", text)} == set()
