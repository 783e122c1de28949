"""The catalogue: facts about files, frames and products, and the queue of jobs. The only SQL in avcd.

SQLite by default, PostgreSQL by URL; one code, and one suite of tests over both.
"""

from __future__ import annotations

from avcd.catalog.candidates import Reach
from avcd.catalog.closures import Closures
from avcd.catalog.corrections import Corrections
from avcd.catalog.files import Files
from avcd.catalog.flags import Flags
from avcd.catalog.gaps import Gaps
from avcd.catalog.history import History
from avcd.catalog.jobs import Jobs
from avcd.catalog.plans import PlanCounts, Plans
from avcd.catalog.queries import Queries
from avcd.catalog.series import Series
from avcd.catalog.snapshots import Snapshots

__all__ = ["Catalog", "PlanCounts", "Reach"]


class Catalog(Files, Snapshots, Plans, Jobs, Closures, Flags, Corrections, Queries, Series, History, Gaps):
    """One database, seen from every side: files, plans, jobs, completion, flags, corrections,
    queries, figures over time, history, gaps.

    Every method is one transaction. Those that change facts of a camera raise its revision in the same one, so that
    nothing that changes is ever forgotten by the planner.

    Parameters
    ----------
    url
        ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``.

    Raises
    ------
    ConfigError
        The URL is neither. Every method may raise `DatabaseBusyError` or `StorageError`, after which trying again may
        help, and `ConfigError` where there is no catalogue.
    """
