"""Settings, read from ``avcd.toml`` into frozen models: name, default, unit, help. Unknown keys are errors.

``Settings`` holds what one home does. Everything that shapes a product's pixels is in a recipe
(``avcd.recipes``), never here, so that settings such as the number of workers cannot change a product.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from avcd.errors import ConfigError

CONFIG_NAME = "avcd.toml"
# What avcd.compose.mixing knows by name.
COMPOSITES = (
    "auto", "broadband", "narrowband", "wavelength", "span", "components", "star-formation",
    "stellar-population", "agn", "dust", "lrgb", "natural", "sho", "hoo", "hos", "jwst-nircam", "jwst-ceers",
    "jwst-jades", "jwst-miri", "hst-acs", "hst-uvis", "hst-uvis-lines", "hst-ir", "panstarrs", "ztf", "sdss", "decam",
    "euclid", "2mass", "chandra", "rgb",
)  # fmt: skip


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Drop(_Section):
    """One drop directory: read, never written."""

    name: str = Field(
        "drop", pattern=r"^[A-Za-z0-9_.-]+$", description="logical name of the root, kept in the catalogue"
    )
    path: Path = Field(Path("drop"), description="the directory; relative to the home")
    watch: Literal["native", "polling", "rescan"] = Field(
        "native",
        description="native: the system's file events, or polling where they do not arrive; polling: for network shares; "
        "rescan: only the periodic rescan",
    )
    canary: bool = Field(
        False,
        description="measure a native watch by a hidden file .avcd-canary-*, written here at start-up and deleted at once; "
        "false: by opening a file that is here",
    )
    profile: str | None = Field(
        None, description="instrument profile for every frame here; unset: recognised by itself"
    )
    site: str | None = Field(None, description="site for frames that name none; a name from sites.toml")
    compat: Literal["none", "astep", "itelescope"] | None = Field(
        None, description="names of reduced frames of this directory in [compat] path; unset: as [compat] style says"
    )


class Archive(_Section):
    """Where products are published."""

    path: Path = Field(Path("archive"), description="the directory; relative to the home")


class Database(_Section):
    """The catalogue."""

    url: str = Field(
        "sqlite:///catalogue.sqlite", description="SQLAlchemy URL; a relative SQLite path starts at the home"
    )


class Watch(_Section):
    """When a file counts as complete."""

    quiet_s: float = Field(5.0, ge=0, description="[s] size and times of a file must stand still this long")
    rescan_s: float = Field(60.0, gt=0, description="[s] between two full looks at every drop directory")
    poll_s: float = Field(10.0, gt=0, description="[s] between two looks of a polling watch")


class Limits(_Section):
    """What avcd refuses to unpack."""

    max_member_bytes: int = Field(4 * 2**30, gt=0, description="[bytes] largest file unpacked from an archive")
    max_members: int = Field(10_000, gt=0, description="most files read from one archive")
    max_ratio: float = Field(200.0, gt=1, description="largest compression ratio believed")


class Completion(_Section):
    """When an observation or a calibration session is complete."""

    quiet_s: float = Field(900.0, ge=0, description="[s] nothing new for at least this long")
    cadence_factor: float = Field(3.0, ge=0, description="… and for this many times (exposure + cadence)")
    grace_s: float = Field(
        3600.0, ge=0, description="[s] after the night's roll-over at noon, everything of the night is closed"
    )
    marker: str = Field(
        "avcd-complete", description="a file of this name in a drop directory closes what lies beside and below it"
    )


class Workers(_Section):
    """How jobs run."""

    count: int = Field(0, ge=0, description="worker processes; 0: one for each core")
    memory: str = Field("2 GiB", pattern=r"^\d+(\.\d+)? ?(MiB|GiB)$", description="memory all workers may use together")
    lease_s: float = Field(
        120.0, gt=1, description="[s] a job whose worker gave no sign of life this long is free again"
    )
    max_attempts: int = Field(3, ge=1, description="a job that failed this often is dead")
    backoff_s: float = Field(5.0, ge=0, description="[s] pause before the second attempt, doubled for each further one")

    @property
    def memory_bytes(self) -> int:
        """``memory`` in bytes."""
        number, unit = float(self.memory[:-3]), self.memory[-3:]
        return int(number * {"MiB": 2**20, "GiB": 2**30}[unit])

    @property
    def processes(self) -> int:
        """``count``, with 0 resolved to the cores this process may use."""
        return self.count or len(os.sched_getaffinity(0))


class Processing(_Section):
    """What is made when something is missing."""

    provisional: bool = Field(
        True,
        description="once an observation is complete, reduce frames that lack a calibration with what is there, marked provisional",
    )
    mosaics: bool = Field(True, description="join the stacks of a target's fields into a mosaic, one for each filter")
    mosaic_panels: str = Field(
        r"(?P<target>.+?)[ _-]*x\d+[ _-]*y\d+",
        description="names of panels, as a regular expression for all of the name in which (?P<target>…) is the target: M31_x1_y2",
    )
    mosaic_days: float = Field(
        30.0,
        ge=0,
        description="[d] panels of one target make one mosaic while no more than this pass between two nights",
    )
    mosaic_apart: float = Field(
        0.5, ge=0, description="pointings of one observation further apart than this part of a frame's side are fields of "
        "their own: each has its stack, all together a mosaic; 0: never",
    )  # fmt: skip
    previews: bool = Field(
        True, description="make preview PNGs of every frame, master, reduced frame, stack and composite"
    )
    sources: bool = Field(True, description="make a table of the stars of every reduced frame")
    stacks: bool = Field(True, description="make stacks and colour pictures of complete observations")
    composites: tuple[str, ...] = Field(
        ("broadband", "narrowband"),
        description="the colour pictures of every observation, as far as its filters make them: broadband, narrowband, "
        "wavelength, lrgb, natural, sho, hoo, hos, a preset such as jwst-nircam, or three filters from red to blue: F444W/F200W/F090W",
    )

    @field_validator("mosaic_panels")
    @classmethod
    def _names_a_target(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        if "target" not in groups:
            raise ValueError("it has no (?P<target>…), which is what of the name is the target")
        return pattern

    @field_validator("composites")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in COMPOSITES and len([one for one in name.split("/") if one.strip()]) != 3:
                raise ValueError(f"{name!r} is none of {', '.join(COMPOSITES)}, and no three filters R/G/B")
        if len(set(names)) != len(names):
            raise ValueError("one composite is named twice")
        return names


class Astrometry(_Section):
    """How reference stars and blind engines are asked; whether they are is said by recipes/reduced.toml."""

    archive_timeout_s: float = Field(
        60.0, gt=0, description="[s] Gaia's archive and VizieR may take this long for a tile of half a degree"
    )
    index_directories: tuple[str, ...] = Field(
        (), description="where index files of astrometry.net are; none named: where Debian puts them"
    )
    index_timeout_s: float = Field(
        60.0, gt=0, description="[s] the engine of this machine may take this long for a frame"
    )
    solve_field_timeout_s: float = Field(60.0, gt=0, description="[s] … and solve-field")
    nova_timeout_s: float = Field(300.0, gt=0, description="[s] … and nova.astrometry.net")
    nova_key_file: Path | None = Field(
        None, description="a file that holds the key of nova.astrometry.net alone; unset: astroquery's settings"
    )
    nova_url: str = Field("https://nova.astrometry.net", description="or a server of one's own that speaks as it does")


class Compat(_Section):
    """Reduced frames under the names that other programs give them, beside the archive."""

    style: Literal["none", "astep", "itelescope"] = Field(
        "none",
        description="astep: DATE-CAMS_CAL/STEM_CAL.fits; itelescope: cal-x.fits of raw-x.fit; none: no such names",
    )
    path: Path = Field(Path("compat"), description="the directory; relative to the home")
    copies: bool = Field(
        False, description="copies; false: hard links into the archive, where the file system has them"
    )


class Settings(_Section):
    """All settings of one home."""

    drop: tuple[Drop, ...] = Field((Drop(),), description="the drop directories", min_length=1)
    archive: Archive = Archive()
    database: Database = Database()
    watch: Watch = Watch()
    limits: Limits = Limits()
    completion: Completion = Completion()
    workers: Workers = Workers()
    processing: Processing = Processing()
    astrometry: Astrometry = Astrometry()
    compat: Compat = Compat()

    @field_validator("drop")
    @classmethod
    def _distinct(cls, drops: tuple[Drop, ...]) -> tuple[Drop, ...]:
        names = [one.name for one in drops]
        if len(set(names)) != len(names):
            raise ValueError(f"two drop directories have one name: {sorted(names)}")
        return drops


def _inside(one: Path, other: Path) -> bool:
    """Whether one of two directories is, or holds, the other."""
    return one == other or one in other.parents or other in one.parents


class Home(BaseModel):
    """An observatory's home: a directory, its settings, and the absolute paths they lead to."""

    model_config = ConfigDict(frozen=True)

    path: Path
    settings: Settings

    @model_validator(mode="after")
    def _apart(self) -> Home:
        archive, named = self.archive, any(self.compat_styles.values())
        for drop in self.settings.drop:
            root = self.drop_path(drop)
            if _inside(root, archive):
                raise ValueError(f"drop directory {root} and archive {archive} lie inside one another")
            if named and _inside(root, self.compat_path):
                raise ValueError(f"drop directory {root} and [compat] path {self.compat_path} lie inside one another")
        if named and _inside(archive, self.compat_path):
            raise ValueError(f"archive {archive} and [compat] path {self.compat_path} lie inside one another")
        return self

    def _resolve(self, path: Path) -> Path:
        return Path(os.path.normpath(self.path / path.expanduser()))

    def drop_path(self, drop: Drop) -> Path:
        """The absolute directory of a drop."""
        return self._resolve(drop.path)

    @property
    def roots(self) -> dict[str, Path]:
        """Logical root name to absolute directory."""
        return {drop.name: self.drop_path(drop) for drop in self.settings.drop}

    @property
    def archive(self) -> Path:
        """The absolute archive directory."""
        return self._resolve(self.settings.archive.path)

    @property
    def cache(self) -> Path:
        """Where what was fetched from archives is kept."""
        return self.path / "cache"

    @property
    def compat_path(self) -> Path:
        """The absolute directory of other programs' names."""
        return self._resolve(self.settings.compat.path)

    @property
    def compat_styles(self) -> dict[str, str | None]:
        """Whose names the reduced frames of each drop directory get too; None: nobody's."""
        found = {one.name: one.compat or self.settings.compat.style for one in self.settings.drop}
        return {name: None if style == "none" else style for name, style in found.items()}

    @property
    def database_url(self) -> str:
        """The database's URL, with a relative SQLite path resolved at the home."""
        return self.resolve_url(self.settings.database.url)

    def resolve_url(self, url: str) -> str:
        """A database's URL with a relative SQLite path resolved at the home."""
        prefix = "sqlite:///"
        if url.startswith(prefix) and not url.startswith(prefix + "/"):
            return prefix + str(self.path / url.removeprefix(prefix))
        return url

    @property
    def lock_path(self) -> Path:
        """The file that the one daemon of this home holds a lock on."""
        return self.path / "avcd.lock"


def find_home(home: Path | None = None) -> Path:
    """The home's directory: the argument, AVCD_HOME, the current directory's avcd.toml, else the user's data directory.

    Raises
    ------
    ConfigError
        None of these holds an avcd.toml.
    """
    if home is None and os.environ.get("AVCD_HOME"):
        home = Path(os.environ["AVCD_HOME"])
    if home is None:
        here = Path.cwd()
        home = here if (here / CONFIG_NAME).is_file() else Path(platformdirs.user_data_dir("avcd"))
    home = home.expanduser().resolve()
    if not (home / CONFIG_NAME).is_file():
        raise ConfigError(f"{home} is no avcd home (it has no {CONFIG_NAME}); make one with: avcd init {home}")
    return home


def load_home(home: Path | None = None) -> Home:
    """Read a home's settings.

    Raises
    ------
    ConfigError
        There is no home, or its avcd.toml is wrong; the message names the key.
    """
    directory = find_home(home)
    path = directory / CONFIG_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return parse_home(directory, table, path)


def parse_home(directory: Path, table: dict[str, Any], path: Path) -> Home:
    """Settings from a table, with errors that name ``path`` and the key."""
    try:
        return Home(path=directory, settings=Settings(**table))
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in one['loc']) or 'settings'}: {one['msg']}" for one in error.errors()]
        raise ConfigError(f"{path}: " + "; ".join(lines)) from None


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml_value(one) for one in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def example_toml(overrides: dict[str, dict[str, Any]] | None = None) -> str:
    """The commented avcd.toml: every setting at its default, with its help.

    Parameters
    ----------
    overrides
        Section to key to value, written instead of the default.

    Returns
    -------
    str
        TOML that ``load_home`` reads.
    """
    overrides = overrides or {}
    lines = ["# avcd: settings of one home. Every setting stands here at its default.", ""]
    for name, info in Settings.model_fields.items():
        section = Drop if name == "drop" else info.annotation
        assert isinstance(section, type)
        assert issubclass(section, _Section)
        lines.append(f"# {(section.__doc__ or '').strip()}")
        if name == "drop":
            lines.append("# Repeat the block for every further directory.")
        lines.append(f"[[{name}]]" if name == "drop" else f"[{name}]")
        for key, field in section.model_fields.items():
            value = overrides.get(name, {}).get(key, field.default)
            lines.append(f"# {field.description}")
            lines.append(f"# {key} = " + '""' if value is None else f"{key} = {_toml_value(value)}")
        lines.append("")
    return "\n".join(lines)
