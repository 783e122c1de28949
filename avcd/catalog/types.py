"""Column types: text that every database takes, file names that are no text, JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import JSON, Text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

# os.fsdecode spells a byte that is no UTF-8 as a lone surrogate U+DC80…U+DCFF, which no database stores. The same
# number in private plane 16 is stored in its place, so that every file name comes back byte for byte.
_SURROGATES = range(0xDC80, 0xDD00)
_PLANE = 0x100000
_TO_STORED = {code: code + _PLANE for code in _SURROGATES}
_TO_PYTHON = {stored: code for code, stored in _TO_STORED.items()}


def stored_path(path: str) -> str:
    """A file name as databases hold it; these are in the order of their bytes when they are in the order of their letters."""
    return path if path.isascii() else path.translate(_TO_STORED)


def given_path(path: str) -> str:
    """A file name as Python spells it, from `stored_path`."""
    return path if path.isascii() else path.translate(_TO_PYTHON)


def plain(text: str) -> str:
    """``text`` without NUL and lone surrogates, which become ``\\x00`` and ``\\udcff``."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


class ManyTexts(TypeDecorator[str]):
    """Text that is stored otherwise where it is not plain ASCII, which it nearly always is."""

    impl = Text
    cache_ok = True
    _stored: Callable[[str], str]

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Make ``value`` storable."""
        return None if value is None else type(self)._stored(value)

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        """The same, at once."""
        stored = type(self)._stored
        return lambda value: None if value is None else stored(value)

    def many_stored(self, values: Sequence[str | None]) -> Sequence[str | None]:
        """A whole column at once: thirty of them are stored for every frame."""
        together = "".join(filter(None, values))
        if together.isascii() and "\0" not in together:
            return values
        return [None if one is None else type(self)._stored(one) for one in values]


class PathText(ManyTexts):
    """A file name, whatever bytes it has: surrogates are stored in plane 16, and come back."""

    cache_ok = True
    _stored = staticmethod(stored_path)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Bring surrogates back."""
        return None if value is None else given_path(value)


class PlainText(ManyTexts):
    """Text. Characters that PostgreSQL or UTF-8 refuses (NUL, lone surrogates) are written as escapes."""

    cache_ok = True
    _stored = staticmethod(plain)


def printable_path(path: str) -> str:
    """A file name for people: bytes that are no UTF-8 as ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class JsonText(str):
    """JSON that is text already, and goes into a JSON column as it is."""

    __slots__ = ()


def to_json(value: Any) -> str:
    """What a JSON column stores."""
    return value if isinstance(value, JsonText) else json.dumps(value)


def from_json(value: Any) -> Any:
    """What stands in JSON that is text; any other value as it is."""
    return json.loads(value) if isinstance(value, JsonText) else value


def json_column() -> Any:
    """JSON kept as it was written."""
    return JSON(none_as_null=True)


def indexed_json_column() -> Any:
    """JSON that PostgreSQL can look into by an index."""
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def is_indexed_json(kind: TypeEngine[Any]) -> bool:
    """Whether a column's type is that of `indexed_json_column`."""
    return isinstance(kind.dialect_impl(postgresql.dialect()), JSONB)
