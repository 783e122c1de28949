"""On which line of a TOML text a key stands: the parser of the standard library does not tell."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

_SKIPPED = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


def key_lines(text: str) -> dict[Path, int]:
    """The line of every key, table and element of an array.

    Parameters
    ----------
    text
        Valid TOML: `tomllib.loads` took it.

    Returns
    -------
    dict
        Path (keys, and the numbers of elements, from 0) to line, from 1. A table that has a header of its own stands on
        its header's line, any other where it is first named.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.found: dict[Path, int] = {}
        self.tables: dict[Path, int] = {}  # arrays of tables, with how many there are so far

    def read(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip():
            if self.text[self.place] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.found

    def _skip(self, pattern: re.Pattern[str] = _SKIPPED) -> bool:
        """Go past what means nothing; False at the end of the text."""
        match = pattern.match(self.text, self.place)
        self.place = match.end() if match else self.place
        return self.place < len(self.text)

    @property
    def _line(self) -> int:
        return self.text.count("\n", 0, self.place) + 1

    def _next(self) -> str:
        return self.text[self.place : self.place + 1]

    def _header(self) -> Path:
        line = self._line
        many = self.text.startswith("[[", self.place)
        self.place += 2 if many else 1
        path: Path = ()
        keys = self._keys()
        for number, key in enumerate(keys):
            path = (*path, key)
            last = number == len(keys) - 1
            if last and many:
                self.found.setdefault(path, line)
                self.tables[path] = self.tables.get(path, 0) + 1
            elif not last:
                self.found.setdefault(path, line)
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
        self.found[path] = line
        self.place += 2 if many else 1
        return path

    def _keys(self) -> list[str]:
        """A key, dotted or not, up to what follows it."""
        keys = []
        while True:
            self._skip(_BLANKS)
            token = (_STRING if self._next() in "\"'" else _BARE_KEY).match(self.text, self.place)
            assert token is not None  # the text is valid
            word = token.group()
            keys.append(tomllib.loads(f"key = {word}")["key"] if word[0] in "\"'" else word)
            self.place = token.end()
            self._skip(_BLANKS)
            if self._next() != ".":
                return keys
            self.place += 1

    def _pair(self, table: Path) -> None:
        line = self._line
        path = table
        for key in self._keys():
            path = (*path, key)
            self.found.setdefault(path, line)
        self.place += 1  # the equals sign
        self._skip(_BLANKS)
        self._value(path)

    def _value(self, path: Path) -> None:
        opening = self._next()
        if opening in "\"'":
            self._skip(_STRING)
        elif opening in "[{":
            self.place += 1
            self._several(path, "]" if opening == "[" else "}")
        else:
            self._skip(_PLAIN)

    def _several(self, path: Path, closing: str) -> None:
        """The elements of an array, or the pairs of a table in braces."""
        number = 0
        while self._skip() and self._next() != closing:
            if self._next() == ",":
                self.place += 1
            elif closing == "}":
                self._pair(path)
            else:
                self.found[(*path, number)] = self._line
                self._value((*path, number))
                number += 1
        self.place += 1
