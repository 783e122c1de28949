"""The settings of a home as rows: what each is set to, its default, and what it means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avcd.config import Drop, Settings


def setting_rows(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every setting, in the order of the example file; the drops are numbered."""
    values = settings.model_dump(mode="json")
    for section in Settings.model_fields:
        if section == "drop":
            for number, drop in enumerate(values["drop"]):
                yield from _section_rows(f"drop.{number}", drop, Drop)
        else:
            yield from _section_rows(section, values[section], type(getattr(settings, section)))


def _section_rows(prefix: str, values: dict[str, Any], model: Any) -> Iterator[dict[str, Any]]:
    for key, field in model.model_fields.items():
        default = (
            field.default if isinstance(field.default, (int, float, str, bool, type(None))) else str(field.default)
        )
        yield {"setting": f"{prefix}.{key}", "value": values[key], "default": default, "help": field.description}
