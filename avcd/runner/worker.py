"""What happens inside a worker process: one claimed job, from its inputs to files in place.

A worker reads its inputs, runs the stage, and publishes the files. It never touches the catalogue: the daemon
records the result in one transaction, fenced by the lease's token.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path

from avcd import faults
from avcd.compiling import allowed_threads, kernels
from avcd.config import Astrometry
from avcd.errors import ProcessingError, StorageError
from avcd.frame import ProductKind
from avcd.products import publish
from avcd.sky.services import SkyServices
from avcd.stages import HeldMasters, Opener, run_stage, stage_of
from avcd.work import Claim, JobInput, Published

# The packages whose versions the promise of equal bytes holds for.
_RECORDED = ("avcd", "numpy", "scipy", "astropy", "astroscrappy", "sep", "reproject", "pillow")
_LARGE = (ProductKind.STACK, ProductKind.MOSAIC, ProductKind.RGB)
_PR_SET_PDEATHSIG = 1
_LOOPS = ("reduction.kernels", "reduction.fused", "wordsums")
_MEASURING = ("avcd.sky.detection", "avcd.stages.figures")  # what commands on files mostly do without
# One thread each: sums over threads come out in another order every time, and the pool already uses every core.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_held = HeldMasters()


@dataclass(frozen=True)
class Workplace:
    """Where a worker finds its inputs and puts its products, how much memory it may use, and whom it may ask.

    ``cache``: where tiles of archives are kept; None: the user's cache. ``attempts``: how often a job is tried.
    """

    roots: Mapping[str, Path]
    archive: Path
    memory_bytes: int
    astrometry: Astrometry = field(default_factory=Astrometry)
    cache: Path | None = None
    attempts: int = 1

    def services(self, attempt: int) -> SkyServices:
        """What a job may ask; an archive that does not answer is waited for at every attempt but the last."""
        return SkyServices(self.astrometry, self.cache, patient=attempt < self.attempts)


def prepare_environment() -> None:
    """Set what worker processes inherit: one BLAS thread each. Call before the pool starts."""
    for name in _ONE_THREAD:
        os.environ[name] = "1"


def initialise(parent: int) -> None:
    """Tie this worker's life to its parent's, and leave the terminal's Ctrl-C to the daemon."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it died before the kernel was told
        os._exit(1)


def get_ready(compiled: bool) -> None:
    """Load what most jobs need, masters and reduced frames; ``compiled``: the loops for large ones, too."""
    for kind in (ProductKind.MASTER_BIAS, ProductKind.REDUCED):
        stage_of(kind)
    for name in _MEASURING:
        import_module(name)
    for name in _LOOPS if compiled else ():
        kernels(name)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@functools.cache
def environment() -> Mapping[str, str]:
    """The versions of Python and of the packages that shape products."""
    return {"python": sys.version.split()[0], **{name: metadata.version(name) for name in _RECORDED}}


def open_inputs(place: Workplace) -> Opener:
    """A function from a job's input to the path of its bytes on this host."""

    def path_of(one: JobInput) -> Path:
        base = place.archive if one.root == "archive" else place.roots.get(one.root)
        if base is None:
            raise ProcessingError(f"no drop directory is named {one.root!r} here; {one.relative_path} cannot be read")
        path = base / one.relative_path
        if not path.exists():
            raise ProcessingError(f"input {one.role} is gone: {one.root}/{one.relative_path}")
        return path

    return path_of


def work(claim: Claim, place: Workplace, share: int = 1) -> Published:
    """Do one job: run its stage, publish its files.

    Parameters
    ----------
    claim, place
        The job, and where.
    share
        How many threads it may use: other workers have nothing to do. No byte depends on it.

    Returns
    -------
    Published
        The files in place and what was measured.

    Raises
    ------
    AvcdError
        As the stage or the file system says; the class tells whether to try again.
    """
    faults.reach("running")
    try:
        # A worker's next job is often another frame of the same night; what joins many frames needs the room itself.
        _held.limit_bytes = 0 if claim.spec.kind in _LARGE else place.memory_bytes // 2
        left = place.memory_bytes - _held.held_bytes
        services = place.services(claim.attempt)
        with allowed_threads(share):
            output = run_stage(claim, open_inputs(place), left, _held, services=services)
            files = tuple(publish(place.archive, one.path, one.write, one.verify, claim.token) for one in output.files)
    except MemoryError as error:
        raise StorageError(
            f"out of memory in {claim.spec.kind}; give [workers] fewer processes or more memory"
        ) from error
    return Published(
        files=files,
        metrics=output.metrics,
        wcs=output.wcs,
        warnings=tuple(output.warnings),
        s_ra=output.s_ra,
        s_dec=output.s_dec,
        input_metrics=output.input_metrics,
        environment=environment(),
    )
