"""The language of ``--where``: comparisons over columns, header cards and figures, turned into bound SQL expressions.

    filter in ('r', 'g') and exposure_s >= 60 and not header.AIRMASS > 1.5
    warnings is not null and target_name like 'NGC %'
    metric.fwhm_px < 3

No text reaches SQL: names are looked up, values are bound.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Float,
    Integer,
    String,
    Table,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)  # fmt: skip
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from avcd.catalog.models import frames, metrics
from avcd.errors import UsageError

_TOKENS = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"
    r"|(?P<string>'(?:[^']|'')*'|\"[^\"]*\")"
    r"|(?P<card>header\.(?:\"[^\"]+\"|[A-Za-z0-9_-]+))"
    r"|(?P<figure>metric\.[A-Za-z0-9_]+)"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,))"
)
_COMPARISONS = {"=": operator.eq, "==": operator.eq, "!=": operator.ne, "<>": operator.ne, "<": operator.lt,
                "<=": operator.le, ">": operator.gt, ">=": operator.ge}  # fmt: skip
_DEEPEST = 50
_LONGEST = 4000
_SPELLINGS = {"target": "target_name", "type": "image_type", "path": "relative_path"}


class _JsonKind(FunctionElement[str]):
    """What kind of JSON value stands under a key: NULL where there is none."""

    type = String()
    inherit_cache = True


@compiles(_JsonKind, "sqlite")
def _on_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    column, key = (compiler.process(one, **options) for one in element.clauses)
    return f"json_type({column}, '$.\"' || {key} || '\"')"


@compiles(_JsonKind, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    column, key = (compiler.process(one, **options) for one in element.clauses)
    return f"jsonb_typeof({column} -> CAST({key} AS TEXT))"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int

    @property
    def word(self) -> str:
        return self.text.lower() if self.kind == "word" else self.text


@dataclass(frozen=True)
class _Value:
    """Something to compare: its SQL by kind of value ("number", "text", "truth"), and whether it is a constant."""

    by_kind: Mapping[str, Any]
    start: int
    constant: bool
    present: Any  # condition: it has a value

    @property
    def kind(self) -> str | None:
        """The only kind it can be; None for a card, which can be any."""
        return next(iter(self.by_kind)) if len(self.by_kind) == 1 else None


def parse_where(text: str, table: Table) -> Any:
    """The condition that an expression states.

    Parameters
    ----------
    text
        Comparisons (``= != < <= > >=``, ``in (…)``, ``like``, ``between … and …``, ``is null``, ``is not null``), joined
        by ``and``, ``or``, ``not`` and parentheses. Operands: columns of the list, ``header.KEYWORD`` (frames),
        ``metric.NAME``, numbers, 'text', true, false.
    table
        What is listed.

    Returns
    -------
    ColumnElement
        With every value bound.

    Raises
    ------
    UsageError
        It cannot be understood; the message shows where.
    """
    return _Parser(text, table).parse()


class _Parser:
    def __init__(self, text: str, table: Table) -> None:
        self._text, self._table = text, table
        self._depth = 0
        if len(text) > _LONGEST:
            raise UsageError(f"--where: longer than {_LONGEST} characters")
        self._tokens = list(self._split())
        self._next = 0

    def _split(self) -> Any:
        at = 0
        while self._text[at:].strip():
            found = _TOKENS.match(self._text, at)
            if not found:
                at += len(self._text[at:]) - len(self._text[at:].lstrip())
                raise self._error(at, "this is not understood")
            kind = str(found.lastgroup)
            yield _Token(kind, found.group(kind), found.start(kind))
            at = found.end()
        yield _Token("end", "", len(self._text))

    def _error(self, at: int, words: str) -> UsageError:
        line = re.sub(r"\s", " ", self._text)
        begin = max(0, at - 60)
        return UsageError(f"--where: {words}\n  {line[begin : begin + 100]}\n  {' ' * (at - begin)}^")

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *words: str) -> bool:
        """Whether the next tokens are these words or signs; they are then behind us."""
        ahead = self._tokens[self._next : self._next + len(words)]
        if [one.word for one in ahead if one.kind in ("word", "sign")] == list(words):
            self._next += len(words)
            return True
        return False

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._error(self._token.start, f"{word!r} is expected here")

    def parse(self) -> Any:
        condition = self._any()
        if self._token.kind != "end":
            raise self._error(self._token.start, "'and', 'or' or the end is expected here")
        return condition

    def _any(self) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(self._token.start, "nested too deeply")
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        self._depth -= 1
        return or_(*parts) if len(parts) > 1 else parts[0]

    def _all(self) -> Any:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return and_(*parts) if len(parts) > 1 else parts[0]

    def _one(self) -> Any:
        denied = False
        while self._take("not"):
            denied = not denied
        if self._take("("):
            condition = self._any()
            self._need(")")
        else:
            condition = self._comparison()
        # What is unknown is not true, and its denial neither, as in SQL.
        return not_(condition) if denied else condition

    def _comparison(self) -> Any:
        left = self._operand()
        if self._take("is", "not", "null"):
            return left.present
        if self._take("is", "null"):
            return not_(left.present)
        denied = self._take("not")
        if self._take("in"):
            condition = self._in(left)
        elif self._take("between"):
            low = self._operand()
            self._need("and")
            condition = and_(self._compare(left, ">=", low), self._compare(left, "<=", self._operand()))
        elif self._take("like"):
            condition = self._like(left)
        elif denied:
            raise self._error(self._token.start, "'in', 'between' or 'like' is expected here")
        else:
            sign = self._token
            if sign.kind != "sign" or sign.text not in _COMPARISONS:
                raise self._error(sign.start, "a comparison is expected here: = != < <= > >= in like between is")
            self._next += 1
            condition = self._compare(left, sign.text, self._operand())
        return not_(condition) if denied else condition

    def _in(self, left: _Value) -> Any:
        self._need("(")
        parts = [self._compare(left, "=", self._operand())]
        while self._take(","):
            parts.append(self._compare(left, "=", self._operand()))
        self._need(")")
        return or_(*parts)

    def _like(self, left: _Value) -> Any:
        pattern = self._token
        right = self._operand()
        if right.kind != "text" or not right.constant or "text" not in left.by_kind:
            raise self._error(pattern.start, "'like' compares text with a 'pattern' of % and _")
        # Case counts on neither database's own terms: both sides are lowered.
        return func.lower(left.by_kind["text"]).like(func.lower(right.by_kind["text"]))

    def _compare(self, left: _Value, sign: str, right: _Value) -> Any:
        kinds = [one for one in left.by_kind if one in right.by_kind]
        if not kinds:
            raise self._error(right.start, f"{_said(left)} cannot be compared with {_said(right)}")
        if left.constant and right.constant:
            raise self._error(left.start, "one side must be a column")
        if len(kinds) > 1:
            raise self._error(right.start, "one side must be a column or a value: the kind of both is open")
        return _COMPARISONS[sign](left.by_kind[kinds[0]], right.by_kind[kinds[0]])

    def _operand(self) -> _Value:
        token = self._token
        if token.kind in ("end", "sign"):
            raise self._error(token.start, "a column, header.KEYWORD, metric.NAME or a value is expected here")
        self._next += 1
        if token.kind == "number":
            return _Value({"number": float(token.text)}, token.start, True, true())
        if token.kind == "string":
            inner = token.text[1:-1]
            plain = inner.replace("''", "'") if token.text[0] == "'" else inner
            return _Value({"text": plain}, token.start, True, true())
        if token.word in ("true", "false"):
            return _Value({"truth": true() if token.word == "true" else false()}, token.start, True, true())
        if token.kind == "card":
            return self._card(token)
        if token.kind == "figure":
            return self._figure(token)
        return self._column(token)

    def _column(self, token: _Token) -> _Value:
        name = token.word if token.word in self._table.c else _SPELLINGS.get(token.word, token.word)
        if name == "image_type" and "kind" in self._table.c:
            name = "kind"
        if name not in self._table.c:
            known = ", ".join(sorted(one.name for one in self._table.c if _kind_of(one)))
            raise self._error(token.start, f"there is no column {token.text}; there are {known}")
        column = self._table.c[name]
        kind = _kind_of(column)
        if kind == "list":  # empty is none
            return _Value({}, token.start, False, func.length(cast(column, String)) > 2)
        if kind is None:
            raise self._error(token.start, f"{token.text} cannot be compared")
        return _Value({kind: column}, token.start, False, column.is_not(None))

    def _card(self, token: _Token) -> _Value:
        if self._table is not frames:
            raise self._error(token.start, "only frames have a header")
        keyword = token.text.split(".", 1)[1].strip('"').upper()
        card = frames.c.header[keyword]
        kind = _JsonKind(frames.c.header, literal(keyword, String))
        number = case((kind.in_(("integer", "real", "number")), card.as_float()))
        string = case((kind.in_(("text", "string")), card.as_string()))
        truth = case((kind.in_(("true", "false", "boolean")), card.as_boolean()))
        present = and_(kind.is_not(None), kind != "null")
        return _Value({"number": number, "text": string, "truth": truth}, token.start, False, present)

    def _figure(self, token: _Token) -> _Value:
        if "id" not in self._table.c:
            raise self._error(token.start, "there are no figures of these")
        name = token.text.split(".", 1)[1]
        number = (
            select(metrics.c.number)
            .where(metrics.c.subject == self._table.c.id, metrics.c.name == name)
            .scalar_subquery()
        )
        return _Value({"number": number}, token.start, False, number.is_not(None))


def _said(value: _Value) -> str:
    names = {"number": "a number", "text": "text", "truth": "true or false", None: "this"}
    return names[value.kind]


def _kind_of(column: Any) -> str | None:
    kind = getattr(column.type, "impl", column.type)
    for types, name in ((Boolean, "truth"), ((Integer, Float), "number"), (String, "text")):
        if isinstance(kind, types):
            return name
    return (
        "list"
        if isinstance(kind, JSON | JSONB) and column.name in ("warnings", "observations", "calibration")
        else None
    )
