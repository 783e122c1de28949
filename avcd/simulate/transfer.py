"""Delivering a night as transfers do it: in pieces, under temporary names, some twice, some broken."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from avcd.simulate.night import Night, SimulatedFrame

_PIECE = 256 * 1024
_ZIP_TIME = (2026, 1, 16, 0, 0, 0)
_EVERY_ZIPPED = 3  # one light in so many comes as a zip
_EVERY_TWICE = 6  # one in so many comes loose and zipped


@dataclass
class Delivery:
    """What was put where: every file written, and those among them that are broken on purpose."""

    files: list[Path] = field(default_factory=list)
    corrupt_zip: Path | None = None
    truncated: Path | None = None


def deliver(night: Night, drops: Mapping[str, Path], *, progress: Callable[[str], None] | None = None) -> Delivery:
    """Write a night's frames into drop directories.

    Parameters
    ----------
    night
        As simulated.
    drops
        "itelescope" and "astep" to directories; they may be one.
    progress
        Called with each file's name.

    Returns
    -------
    Delivery
        One frame in three of the iTelescope lights is zipped, some come both ways; at the end a corrupt zip and a
        truncated frame, which hold nothing new.
    """
    done = Delivery()

    def put(drop: str, relative: str, data: bytes) -> Path:
        target = drops[drop] / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(target.name + ".filepart")
        with temporary.open("wb") as stream:
            for start in range(0, len(data), _PIECE):
                stream.write(data[start : start + _PIECE])
                stream.flush()
        temporary.replace(target)
        done.files.append(target)
        if progress:
            progress(relative)
        return target

    lights = [one for one in night.frames if Path(one.relative_path).name.startswith("raw-")]
    for frame in night.frames:
        number = lights.index(frame) if frame in lights else None
        if number is None or number % _EVERY_ZIPPED or number % _EVERY_TWICE == 0:
            put(frame.drop, frame.relative_path, frame.data)
        if number is not None and number % _EVERY_ZIPPED == 0:
            put(frame.drop, frame.relative_path + ".zip", zipped(frame))
    last = lights[-1]
    folder = Path(last.relative_path).parent.as_posix()
    done.corrupt_zip = put(last.drop, f"{folder}/interrupted.fit.zip", zipped(last)[: len(last.data) // 4])
    done.truncated = put(last.drop, f"{folder}/truncated.fit", last.data[: len(last.data) // 2])
    return done


def zipped(frame: SimulatedFrame) -> bytes:
    """A frame as the one member of a zip archive; the same frame gives the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            zipfile.ZipInfo(Path(frame.relative_path).name, _ZIP_TIME), frame.data, zipfile.ZIP_DEFLATED, 1
        )
    return stream.getvalue()
