"""Where the files that ship with avcd are: beside the package in a clone, inside it when installed from a wheel."""

from __future__ import annotations

from pathlib import Path

from avcd.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def shipped(relative: str) -> Path:
    """The path of a shipped file or directory, such as ``config/instruments``.

    Raises
    ------
    ConfigError
        The installation lacks it.
    """
    for base in (_PACKAGE / "_shipped", _PACKAGE.parent):
        path = base / relative
        if path.exists():
            return path
    raise ConfigError(f"this installation lacks {relative}; install avcd again")
