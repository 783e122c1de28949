"""From the vocabulary to rows and back."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from avcd.catalog.types import JsonText, plain
from avcd.frame import (
    Blocked,
    Card,
    Frame,
    FrameStatus,
    ImageType,
    InputRef,
    ProductKind,
    ProductSpec,
    ProductStatus,
    canonical_json,
    parameters_json,
)

# The fields of a frame that have a column of the same name; cards are kept apart.
FRAME_FIELDS = tuple(field.name for field in dataclasses.fields(Frame) if field.name not in ("cards", "header_text"))
_COMMENTARY = frozenset({"COMMENT", "HISTORY", ""})
_SPEC_FIELDS = tuple(field.name for field in dataclasses.fields(ProductSpec))
_of_spec = operator.attrgetter(*_SPEC_FIELDS)
_ABOUT = ("telescope", "instrument", "target_name", "filter", "night", "subject")


def frame_to_row(frame: Frame) -> dict[str, Any]:
    """The columns of a frame, less ``first_seen``: no NaN and no infinity, which databases refuse; texts are made
    storable by their columns, and what most frames share is JSON already."""
    return frames_to_rows([frame])[0]


def frames_to_rows(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    """As `frame_to_row`, one step after the other for all of them."""
    rows: list[dict[str, Any]] = [dict(zip(FRAME_FIELDS, _values(frame), strict=True)) for frame in frames]
    for row in rows:
        for name in _NUMBERS:
            if row[name] is not None and not math.isfinite(row[name]):
                row[name] = None
    for row, frame in zip(rows, frames, strict=True):
        row["calibration"] = _list_of(tuple(sorted(frame.calibration)))
        row["warnings"] = _list_of(frame.warnings)
        row["sources"] = _object_of(tuple(frame.sources.items()))
        row["camera"] = frame.camera
    for row in rows:
        row["precedence"] = _precedence(row)
    for row, frame in zip(rows, frames, strict=True):
        text = frame.header_text
        row["cards"], row["header"] = (JsonText(text.cards), JsonText(text.values)) if text else _header(frame.cards)
    return rows


@functools.lru_cache(maxsize=4096)
def _list_of(texts: tuple[str, ...]) -> JsonText:
    return JsonText(json.dumps([plain(one) for one in texts]))


@functools.lru_cache(maxsize=4096)
def _object_of(pairs: tuple[tuple[str, str], ...]) -> JsonText:
    """Where a frame's values are from: the same for most of a night."""
    return JsonText(json.dumps({plain(key): plain(value) for key, value in pairs}))


_NUMBERS = tuple(one.name for one in dataclasses.fields(Frame) if one.type == "float | None")
_values = operator.attrgetter(*FRAME_FIELDS)


def _header(cards: Iterable[Card]) -> tuple[list[list[Any]], dict[str, Any]]:
    """Every card in order, and the first value of each keyword."""
    listed = [[plain(one.keyword), _card_value(one.value), plain(one.comment)] for one in cards]
    header: dict[str, Any] = {}
    for keyword, value, _ in listed:
        if keyword not in _COMMENTARY:
            header.setdefault(keyword, value)
    return listed, header


def _precedence(row: Mapping[str, Any]) -> str:
    """A text by which one of two readings of the same frame is preferred, whichever came first.

    The same content may lie under two names, of which one says more (the filter, say). More known values win; the
    digest settles ties.
    """
    values = [row[name] for name in FRAME_FIELDS]
    digest = hashlib.sha256(repr(values).encode("utf-8", "backslashreplace")).hexdigest()
    return f"{len(values) - values.count(None):04d}:{digest}"


def _card_value(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return plain(value) if isinstance(value, str) else value


def row_to_frame(row: Mapping[str, Any]) -> Frame:
    """A frame from its columns; the cards are left out."""
    values = {name: row[name] for name in FRAME_FIELDS}
    values["image_type"] = ImageType(values["image_type"])
    values["status"] = FrameStatus(values["status"])
    values["calibration"] = frozenset(values["calibration"])
    values["warnings"] = tuple(values["warnings"])
    return Frame(**values)


def cards_from_json(cards: Iterable[Sequence[Any]]) -> tuple[Card, ...]:
    """Header cards from their array."""
    return tuple(Card(keyword, value, comment) for keyword, value, comment in cards)


def spec_to_json(spec: ProductSpec) -> dict[str, Any]:
    """A spec as plain JSON values."""
    found: dict[str, Any] = dict(zip(_SPEC_FIELDS, _of_spec(spec), strict=True))
    found["parameters"] = dict(spec.parameters)
    found["inputs"] = [[one.role, one.id, one.origin] for one in spec.inputs]
    found["observations"] = list(spec.observations)
    found["kind"], found["status"] = str(spec.kind), str(spec.status)
    return found


def _spec_text(spec: ProductSpec) -> JsonText:
    """The canonical JSON of a spec."""
    rest = canonical_json({**spec_to_json(spec), "parameters": None})
    # Within a text, JSON would write its quotes otherwise: this stands there once.
    return JsonText(rest.replace('"parameters":null', f'"parameters":{parameters_json(spec.parameters)}'))


def spec_from_json(table: Mapping[str, Any]) -> ProductSpec:
    """The spec that `spec_to_json` wrote."""
    values = dict(table)
    values["kind"] = ProductKind(values["kind"])
    values["status"] = ProductStatus(values["status"])
    values["inputs"] = tuple(InputRef(*one) for one in values["inputs"])
    values["observations"] = tuple(values["observations"])
    return ProductSpec(**values)


def product_to_spec(row: Mapping[str, Any], inputs: Iterable[InputRef]) -> ProductSpec:
    """The spec a product was made from."""
    values = {name: row[name] for name in _SPEC_FIELDS if name not in ("inputs", "priority")}
    values["kind"], values["status"] = ProductKind(row["kind"]), ProductStatus(row["status"])
    values["observations"] = tuple(row["observations"])
    return ProductSpec(**values, inputs=tuple(inputs))


def job_to_row(camera: str, planned: ProductSpec | Blocked) -> dict[str, Any]:
    """The columns of a job that the plan decides; ``digest`` is over all of them."""
    spec = _spec_text(planned) if isinstance(planned, ProductSpec) else None  # for the column and for the digest
    row: dict[str, Any] = {
        "id": planned.id,
        "camera": camera,
        "kind": str(planned.kind),
        "slot": planned.slot,
        "reason": planned.reason,
        "priority": planned.priority if isinstance(planned, ProductSpec) else 0,
        **{name: getattr(planned, name) for name in _ABOUT},
    }
    if spec is None:
        inputs = [[one.role, one.id, one.origin] for one in planned.inputs]
        whole = canonical_json([row, inputs])
    else:  # all but the camera is in the spec
        whole = f"{camera}\n{spec}"
    return {**row, "spec": spec, "digest": hashlib.sha256(whole.encode()).hexdigest()}


def metric_to_row(subject: str, name: str, value: float | int | str | bool | None) -> dict[str, Any]:
    """A metric's row: floats as number, others as JSON beside it."""
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    if number is not None and not math.isfinite(number):
        number = None
    text = None if value is None or isinstance(value, float) else json.dumps(value)
    return {"subject": subject, "name": name, "number": number, "value": text}


def metric_from_row(row: Mapping[str, Any]) -> float | int | str | bool | None:
    """The value that `metric_to_row` wrote."""
    if row["value"] is not None:
        found: int | str | bool = json.loads(row["value"])
        return found
    number: float | None = row["number"]
    return number
