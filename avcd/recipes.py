"""Recipes: how each kind of product is made. Name, version and parameters are part of a product's identity.

Shipped in config/recipes/*.toml, one file a kind; a home's recipes/ directory overrides file by file. A change of a
parameter or of the version makes the planner remake the products of that kind, and everything made from them. What a
home's badpixels/*.yaml name goes with the recipe of bad pixel masks, and into those of their own cameras alone.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from avcd.errors import ConfigError
from avcd.frame import ProductKind
from avcd.inspection import faults_of, limits_of
from avcd.named_defects import NamedDefects, read_named_defects
from avcd.resources import shipped


class Recipe(BaseModel):
    """How one kind of product is made. ``named``: bad pixels that observers name, no key of a recipe's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ProductKind
    name: str = Field(pattern=r"^[a-z0-9_-]+$")
    version: int = Field(ge=1)
    parameters: Mapping[str, Any] = {}
    named: tuple[NamedDefects, ...] = Field(default=(), max_length=0)


Recipes = Mapping[ProductKind, Recipe]


def _load(path: Path) -> Recipe:
    try:
        return Recipe(**tomllib.loads(path.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(f"{one['loc']}: {one['msg']}" for one in error.errors())) from None


# The parameters that are words, and what they may be; of several lists, that which the shipped value is in.
_WORDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "method": (("mean", "median", "sum", "weighted"),),
    "rejection": (("mad", "std", "extrema", "range", "none"),),
    "scale": (("none", "median", "mean"), ("auto", "zero_point", "exposure", "none")),
    "cosmic_rays": (("lacosmic", "median", "none"),),
    "background": (("none", "plane", "subtract"),),
    "repair": (("none", "median", "interpolation"),),
    "match": (("none", "level", "plane", "curved"),),
    "interpolation": (("nearest", "bilinear", "lanczos3"),),
}
# The parameters that are lists of words.
_LISTS: Mapping[str, tuple[str, ...]] = {
    "solve_references": ("tycho2", "gaia"),
    "solve_engines": ("index", "solve-field", "nova"),
    "zero_points": ("tycho2", "gaia", "apass"),
}
# Numbers that are no less than this.
_LEAST: Mapping[str, float] = {
    "low_sigma": 0.0,
    "high_sigma": 0.0,
    "lowest": 0,
    "highest": 0,
    "minimum_frames": 1,
    "response_sigma": 0.0,
    "response_box_px": 1,
    "cosmic_rays_stacked": 0,
    "background_box_px": 1,
    "background_filter_boxes": 1,
    "cosmic_median_sigma": 0.0,
    "cosmic_median_box_px": 1,
    "cosmic_median_grow_px": 0,
    "cosmic_median_replace_px": 0,
}
_SWITCHES = {"cosmic_rays": {True: "lacosmic", False: "none"}}  # words that were true and false once


def checked_parameters(own: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's parameters laid over those it changes, each of the type and among the words that it may have.

    Parameters
    ----------
    own
        What is changed.
    base
        All parameters, with a value of the right type.

    Raises
    ------
    ValueError
        There is no such parameter, or it cannot have such a value; the message has what it can.
    """
    unknown = sorted(set(own) - set(base))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no such parameter; there are {sorted(base)}")
    found = dict(base)
    for name, value in own.items():
        value = _SWITCHES.get(name, {}).get(value, value) if isinstance(value, bool) else value
        like = base[name]
        if isinstance(like, float) and type(value) is int:
            value = float(value)
        if type(value) is not type(like) and like is not None:
            raise ValueError(f"{name} = {value!r}: {json.dumps(like)} is what such a value looks like")
        words = next((some for some in _WORDS.get(name, ()) if like in some), None)
        if words is not None and value not in words:
            raise ValueError(f"{name} = {value!r} is none of {', '.join(words)}")
        if name in _LISTS and not set(value) <= set(_LISTS[name]):
            raise ValueError(f"{name} = {json.dumps(value)}: each is one of {', '.join(_LISTS[name])}")
        if name in _LEAST and value < _LEAST[name]:
            raise ValueError(f"{name} = {value!r}: it is at least {_LEAST[name]:g}")
        found[name] = value
    if found.get("low_level", -1.0) >= found.get("high_level", 0.0):
        raise ValueError(f"low_level = {found['low_level']:g} is not below high_level = {found['high_level']:g}")
    return found


def load_recipes(home: Path | None = None) -> Recipes:
    """The recipe of every kind: the shipped ones, overridden by those in ``home``/recipes.

    A home's recipe may leave parameters out; they keep the shipped value. A parameter the shipped recipe does not
    have is an error, and so is a value of another type, or a word that means nothing.

    Raises
    ------
    ConfigError
        A file is wrong; the message names it.
    """
    recipes = {recipe.kind: recipe for recipe in map(_load, sorted(shipped("config/recipes").glob("*.toml")))}
    for path in sorted((home / "recipes").glob("*.toml")) if home else ():
        own = _load(path)
        base = recipes[own.kind]
        try:
            parameters = checked_parameters(own.parameters, base.parameters)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        recipes[own.kind] = own.model_copy(update={"parameters": parameters})
    stacks = recipes[ProductKind.STACK].parameters
    limits_of(stacks)
    faults_of(stacks["leave_out"])
    masks = recipes[ProductKind.BAD_PIXEL_MASK]
    recipes[ProductKind.BAD_PIXEL_MASK] = masks.model_copy(update={"named": _named_defects(home)})
    return recipes


def _named_defects(home: Path | None) -> tuple[NamedDefects, ...]:
    found = []
    for path in sorted((home / "badpixels").glob("*.yaml")) if home else ():
        one = read_named_defects(path)
        if not one.telescope or not one.instrument:
            raise ConfigError(
                f"{path}: telescope and instrument: say whose pixels these are, as avcd frames shows them"
            )
        found.append(one)
    return tuple(found)
