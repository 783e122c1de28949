"""Commands by which the observer decides: flag, unflag, close, retry."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from avcd.cli.options import HomeOption, IdArgument, ReasonOption, find_one, load_home_for, open_catalog, user_name
from avcd.errors import UsageError

if TYPE_CHECKING:
    from avcd.catalog import Catalog


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("flag")(flag)
    app.command("unflag")(unflag)
    app.command("close")(close)
    app.command("retry")(retry)


def flag(
    identity: IdArgument,
    reason: ReasonOption,
    note: Annotated[bool, typer.Option("--note", help="Only add a note; reject nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Reject a frame or product: everything made from it is made again without it."""
    _need(reason)
    with open_catalog(load_home_for(home)) as catalog:
        kind, found = find_one(catalog, identity)
        catalog.flag(found, reason, user_name(), time.time(), kind="note" if note else "reject")
    typer.echo(f"{kind} {found[:12]} {'has a note more' if note else 'is rejected'}")


def unflag(identity: IdArgument, reason: ReasonOption, home: HomeOption = None) -> None:
    """Withdraw the rejection of a frame or product."""
    _need(reason)
    with open_catalog(load_home_for(home)) as catalog:
        kind, found = find_one(catalog, identity)
        catalog.unflag(found, reason, user_name(), time.time())
    typer.echo(f"{kind} {found[:12]} is no longer rejected")


def close(
    observation: Annotated[
        str,
        typer.Argument(
            metavar="OBSERVATION", help="Its id as `avcd observations` shows it, or a calibration session's."
        ),
    ],
    home: HomeOption = None,
) -> None:
    """Declare an observation complete: its stacks and colour picture are made now."""
    with open_catalog(load_home_for(home)) as catalog:
        typer.echo(_close(catalog, observation))


def _need(reason: str) -> None:
    if not reason.strip():
        raise UsageError("--reason is empty: whoever reads it in ten years wants to know")


def _close(catalog: Catalog, text: str) -> str:
    groups = {one.subject: one for one in catalog.open_groups()}
    if not text.strip():
        raise UsageError("no observation is named; see: avcd observations")
    fits = [text] if text in groups else [one for one in groups if one.startswith(text)]
    if len(fits) > 1:
        raise UsageError(f"{text!r} may mean any of {', '.join(fits[:8])}; say more of it")
    if fits:
        group = groups[fits[0]]
        closure = catalog.close_group(group.subject, group.members, "explicit", time.time())
        return f"{group.subject} is complete with {len(closure.members)} frames (revision {closure.revision})"
    if any(one["id"].startswith(text) for one in catalog.observations()):
        return f"{text} is complete already"
    raise UsageError(f"no observation is named {text!r}; see: avcd observations")


def retry(
    job: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="Its id as `avcd jobs --status dead` shows it. Else all that are dead."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Try dead jobs again, once what killed them is mended."""
    with open_catalog(load_home_for(home)) as catalog:
        dead = [one["id"] for one in catalog.jobs(status="dead")]
        chosen = [one for one in dead if one.startswith(job or "")]
        if job and len(chosen) != 1:
            raise UsageError(f"{job!r} names {len(chosen)} dead jobs, not one; see: avcd jobs --status dead")
        number = sum(catalog.retry_job(one) for one in chosen)
    typer.echo(f"{number} dead job{'' if number == 1 else 's'} will be tried again")
