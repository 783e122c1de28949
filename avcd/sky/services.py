"""Reference catalogues and blind engines by their names, as settings, recipes and the command line give them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from avcd.config import Astrometry
from avcd.errors import ConfigError, ProcessingError

if TYPE_CHECKING:
    from avcd.sky.engines import BlindEngine, NovaClient
    from avcd.sky.reference import ReferenceStars

CATALOGUES = ("tycho2", "gaia", "apass")
ENGINES = ("index", "solve-field", "nova")
_EPOCH = 2016.0  # taken for frames without a date


@dataclass(frozen=True)
class SkyServices:
    """What may be asked beside the bundled stars, and how; nothing is asked, or loaded, before it is needed.

    Parameters
    ----------
    settings
        Timeouts, index files, the key of the web service.
    cache
        Where tiles of archives are kept; None: the user's cache.
    patient
        Whether a job is tried again where an archive does not answer; else it goes on without.
    """

    settings: Astrometry = field(default_factory=Astrometry)
    cache: Path | None = None
    patient: bool = False

    def catalogue(self, name: str, t_min: float | None = None) -> ReferenceStars:
        """Reference stars by a name of ``CATALOGUES``, where they stood at a time (MJD)."""
        # Each takes longer in loading than a frame in reducing.
        from avcd.sky.apass import Apass
        from avcd.sky.gaia import GaiaStars
        from avcd.sky.reference import Tycho2

        if name == "tycho2":
            return Tycho2()
        timeout_s = self.settings.archive_timeout_s
        if name == "gaia":
            epoch = _EPOCH if t_min is None else julian_year(t_min)
            return GaiaStars(self._directory("gaia-dr3"), _LazyGaia(), epoch, timeout_s=timeout_s)
        if name == "apass":
            return Apass(self._directory("apass-dr9"), _LazyVizier(), timeout_s=timeout_s)
        raise ConfigError(f"{name!r} is no catalogue; there are {', '.join(CATALOGUES)}")

    def engines(self, names: Iterable[str]) -> tuple[BlindEngine, ...]:
        """Blind engines by names of ``ENGINES``, in that order."""
        return tuple(self._engine(name) for name in names)

    def _engine(self, name: str) -> BlindEngine:
        from avcd.sky.engines import INDEX_DIRECTORIES, IndexEngine, Nova, SolveField

        settings = self.settings
        if name == "index":
            named = tuple(Path(one).expanduser() for one in settings.index_directories)
            return IndexEngine(named or INDEX_DIRECTORIES, settings.index_timeout_s)
        if name == "solve-field":
            return SolveField(settings.solve_field_timeout_s)
        if name == "nova":
            return Nova(self._nova_client, settings.nova_timeout_s)
        raise ConfigError(f"{name!r} is no blind engine; there are {', '.join(ENGINES)}")

    def lacking(self, names: Iterable[str]) -> list[str]:
        """What is missing for catalogues and engines, by their names, to be asked; the network is not tried."""
        found = []
        for name in names:
            try:
                self._check(name)
            except ProcessingError as error:
                found.append(str(error))
        return found

    def _check(self, name: str) -> None:
        if name in ("gaia", "apass"):
            _astroquery(name if name == "gaia" else "vizier", name)
        elif name in ENGINES:
            self._engine(name).check()

    def _nova_client(self) -> NovaClient:
        """astroquery's client of the web service, with its key.

        Raises
        ------
        ProcessingError
            astroquery is not installed, or there is no key; the message says where it is looked for.
        """
        core = _astroquery("astrometry_net", "nova")
        path = self.settings.nova_key_file
        if path is not None:
            try:
                core.conf.api_key = path.expanduser().read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ProcessingError(f"[astrometry] nova_key_file cannot be read: {error}") from None
        if not core.conf.api_key:
            raise ProcessingError(
                "nova needs a key from nova.astrometry.net; write it into a file that [astrometry] nova_key_file names, or "
                "into ~/.astropy/config/astroquery.cfg, as api_key below [astrometry_net]"
            )
        client: Any = core.AstrometryNetClass()
        client.URL = self.settings.nova_url.rstrip("/")
        client.API_URL = client.URL + "/api"
        found: NovaClient = client
        return found

    def _directory(self, name: str) -> Path:
        return (self.cache or Path(platformdirs.user_cache_dir("avcd"))) / name


class _LazyGaia:
    """astroquery's client of the Gaia archive, loaded when the first tile is asked for."""

    def launch_job_async(self, query: str, **options: Any) -> Any:
        client = _astroquery("gaia", "Gaia DR3").GaiaClass(show_server_messages=False)
        return client.launch_job_async(query, **options)


class _LazyVizier:
    """astroquery's client of VizieR, likewise."""

    def query_constraints(self, **constraints: Any) -> Any:
        from avcd.sky.apass import Apass

        client = _astroquery("vizier", "APASS DR9").VizierClass(columns=list(Apass.columns), row_limit=-1)
        return client.query_constraints(**constraints)


def _astroquery(module: str, what: str) -> Any:
    from importlib import import_module

    try:
        # Some ask their archive for news as they are imported, and print them, or that there are none.
        with redirect_stdout(sys.stderr):
            return import_module(f"astroquery.{module}")
    except ModuleNotFoundError:
        raise ProcessingError(f"{what} needs the package astroquery; install avcd[archives]") from None


def julian_year(mjd: float) -> float:
    """The Julian year of a time."""
    return 2000.0 + (mjd - 51544.5) / 365.25
