"""Commands by which the observer decides: flag, reject, approve, unflag, correct, close, retry."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avcd.cli.options import (
    HomeOption,
    IdArgument,
    ReasonOption,
    find_one,
    load_home_for,
    load_translator,
    open_catalog,
    user_name,
)
from avcd.errors import UsageError
from avcd.views.tables import cell

if TYPE_CHECKING:
    from avcd.catalog import Catalog
    from avcd.headers.profiles import Profiles

_MJD_EPOCH = datetime.datetime(1858, 11, 17, tzinfo=datetime.UTC)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("flag")(flag)
    app.command("reject")(reject)
    app.command("approve")(approve)
    app.command("unflag")(unflag)
    app.command("correct")(correct)
    app.command("close")(close)
    app.command("retry")(retry)


def flag(
    identity: IdArgument,
    reason: ReasonOption,
    note: Annotated[bool, typer.Option("--note", help="Only add a note; reject nothing.")] = False,
    home: HomeOption = None,
) -> None:
    """Reject a frame or product, or with --note say something of it; what is rejected is made again without it."""
    _flag(identity, reason, "note" if note else "reject", home)


def reject(identity: IdArgument, reason: ReasonOption, home: HomeOption = None) -> None:
    """Reject a frame or product: everything made from it is made again without it. An approval ends."""
    _flag(identity, reason, "reject", home)


def _flag(identity: str, reason: str, what: str, home: Path | None) -> None:
    _need(reason)
    with open_catalog(load_home_for(home)) as catalog:
        kind, found = find_one(catalog, identity)
        catalog.flag(found, reason, user_name(), time.time(), kind=what)
    typer.echo(f"{kind} {found[:12]} {'has a note more' if what == 'note' else 'is rejected'}")


def approve(
    identity: IdArgument,
    reason: ReasonOption,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="DATE", help="The first moment for which it is valid, UTC; a date is its 0 h."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="The moment from which it is valid no longer, UTC.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Approve a master, made or delivered: a held one serves, and with dates it serves for these alone.

    A rejection ends, and so does an approval for other dates. `avcd unflag` withdraws an approval.
    """
    from avcd.views.details import validity

    _need(reason)
    valid_from, valid_until = _moment("--from", since), _moment("--until", until)
    with open_catalog(load_home_for(home)) as catalog:
        kind, found = find_one(catalog, identity)
        catalog.approve(found, reason, user_name(), time.time(), valid_from, valid_until)
    times = validity(valid_from, valid_until)
    typer.echo(f"{kind} {found[:12]} is approved" + (f", valid {times}" if times else ""))


def _moment(option: str, text: str | None) -> float | None:
    """A date or time as MJD UTC; one without a zone is UTC."""
    if text is None:
        return None
    try:
        found = datetime.datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{option}: {text!r} is neither a date (2026-01-15) nor a time (2026-01-15T21:30)") from None
    utc = found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found
    return (utc - _MJD_EPOCH) / datetime.timedelta(days=1)


def unflag(identity: IdArgument, reason: ReasonOption, home: HomeOption = None) -> None:
    """Withdraw the rejection or the approval of a frame or product, whichever holds."""
    _need(reason)
    with open_catalog(load_home_for(home)) as catalog:
        kind, found = find_one(catalog, identity)
        withdrawn = catalog.unflag(found, reason, user_name(), time.time())
    typer.echo(f"{kind} {found[:12]} is no longer {'rejected' if withdrawn == 'reject' else 'approved'}")


def correct(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="ID… [KEY=VALUE…]",
            help="Frames, then what is right. KEY is a column (filter, target_name, exposure_s …) or the usual card for "
            "it (FILTER, OBJECT, EXPTIME, IMAGETYP, DATE-OBS …); nothing after the = says that the value is not known.",
        ),
    ],
    reason: ReasonOption,
    withdraw: Annotated[
        list[str] | None,
        typer.Option("--withdraw", metavar="KEY", help="Let the header count again. May be repeated."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Correct what the headers of frames say wrongly: all that follows from it is worked out and made again.

    The file and its header stay as they are; what was corrected, by whom and why is kept beside them.
    """
    from avcd.headers.corrections import correctable, parse_correction

    _need(reason)
    loaded = load_home_for(home)
    translator = load_translator(loaded)
    profiles = translator.profiles
    known = correctable(profiles)
    first = next(
        (number for number, one in enumerate(words) if "=" in one and one.partition("=")[0].strip().upper() in known),
        len(words),
    )
    names = words[:first] or [words[0]]
    values = dict(parse_correction(*_split(one), profiles) for one in words[first:])
    withdrawn = {parse_correction(one, "", profiles)[0] for one in withdraw or ()}
    with open_catalog(loaded) as catalog:
        ids = [_frame_named(catalog, one, profiles) for one in names]
        if not values and not withdrawn:
            raise UsageError("nothing is corrected; say what, as in: avcd correct FRAME FILTER=Ha --reason …")
        if values.keys() & withdrawn:
            raise UsageError(f"{', '.join(sorted(values.keys() & withdrawn))}: corrected or withdrawn, not both")
        count = catalog.correct(ids, values, reason, user_name(), time.time(), translator, withdrawn=sorted(withdrawn))
        for one in dict.fromkeys(ids):
            row = catalog.frame_row(one)
            shown = ", ".join(f"{name} {cell(name, row.get(name))}" for name in sorted({*values, *withdrawn}))
            typer.echo(f"frame {one[:12]}: {shown}")
    if not count:
        typer.echo("avcd: it was corrected so already", err=True)


def _split(word: str) -> tuple[str, str]:
    key, sign, text = word.partition("=")
    if not sign:
        raise UsageError(f"{word!r} is no KEY=VALUE; frames are named before the first of these")
    return key, text


def _frame_named(catalog: Catalog, text: str, profiles: Profiles) -> str:
    """The id of the frame that a word names."""
    if "=" in text and not catalog.find(text):
        from avcd.headers.corrections import parse_correction

        parse_correction(*_split(text), profiles)  # a misspelt KEY, and the message says which there are
    kind, found = find_one(catalog, text)
    if kind != "frame":
        raise UsageError(f"{text!r} is a product: correct the frames that it was made from")
    return found


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
