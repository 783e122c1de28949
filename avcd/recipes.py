"""Recipes: how each kind of product is made. Name, version and parameters are part of a product's identity.

Shipped in config/recipes/*.toml, one file a kind; a home's recipes/ directory overrides file by file. A change of a
parameter or of the version makes the planner remake the products of that kind, and everything made from them. What a
home's badpixels/*.yaml name goes with the recipe of bad pixel masks, and into those of their own cameras alone.
"""

from __future__ import annotations

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


def load_recipes(home: Path | None = None) -> Recipes:
    """The recipe of every kind: the shipped ones, overridden by those in ``home``/recipes.

    A home's recipe may leave parameters out; they keep the shipped value. A parameter the shipped recipe does not
    have is an error.

    Raises
    ------
    ConfigError
        A file is wrong; the message names it.
    """
    recipes = {recipe.kind: recipe for recipe in map(_load, sorted(shipped("config/recipes").glob("*.toml")))}
    for path in sorted((home / "recipes").glob("*.toml")) if home else ():
        own = _load(path)
        base = recipes[own.kind]
        unknown = sorted(set(own.parameters) - set(base.parameters))
        if unknown:
            raise ConfigError(f"{path}: {', '.join(unknown)}: no such parameter; there are {sorted(base.parameters)}")
        recipes[own.kind] = own.model_copy(update={"parameters": {**base.parameters, **own.parameters}})
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
