"""Files: what lies in the drop directories, and the frames found in them."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from sqlalchemy import Connection, Text, and_, literal, or_, select, type_coerce, update

from avcd.catalog.among import among
from avcd.catalog.facts import facts_changed
from avcd.catalog.models import file_frames, files
from avcd.catalog.recording import Recording, forget_dead_jobs, without_file
from avcd.catalog.session import chunks
from avcd.catalog.types import stored_path

# Stored spelling of the path, size [bytes], mtime [ns], ctime [ns], present, status, reason.
Recorded = tuple[str, int, int, int | None, bool, str, str]
_PAGE = 1_000


class Files(Recording):
    """The part of the catalogue that ingestion writes."""

    def recorded(self, root: str, below: str = "") -> Generator[Recorded]:
        """Every path ever read at or below a directory, one after the other in the order of `stored_path`.

        A single transaction that is held until the last one is taken; only some hundreds are in memory.
        """
        path = type_coerce(files.c.relative_path, Text)
        columns = (
            path,
            files.c.size,
            files.c.mtime_ns,
            files.c.ctime_ns,
            files.c.present,
            files.c.status,
            files.c.reason,
        )
        with self.read() as connection:
            # SQLite compares bytes anyway, and has them in this order in the index; PostgreSQL must be told to.
            ordered = path.collate("C") if connection.dialect.name == "postgresql" else files.c.relative_path
            wanted = select(*columns).where(files.c.root == root, files.c.member == "").order_by(ordered)
            if below:
                first = stored_path(below)
                # "0" comes right after "/": what begins with the directory's name and a slash.
                inside = and_(ordered > literal(first + "/", Text), ordered < literal(first + "0", Text))
                wanted = wanted.where(or_(files.c.relative_path == below, inside))
            for row in connection.execution_options(yield_per=_PAGE).execute(wanted):
                yield tuple(row)

    def mark_absent(self, root: str, relative_paths: Iterable[str]) -> None:
        """Note that these paths are gone; what was read from them stays known."""
        self._mark(root, relative_paths, present=False)

    def mark_present(self, root: str, relative_paths: Iterable[str]) -> None:
        """Note that these paths are back as they were (a share mounted again); jobs that died for want of them may run."""
        self._mark(root, relative_paths, present=True)

    def _mark(self, root: str, relative_paths: Iterable[str], *, present: bool) -> None:
        paths = list(relative_paths)

        def work(connection: Connection) -> None:
            for some in chunks(paths):
                here = and_(files.c.root == root, among(files.c.relative_path, some))
                if present:
                    held = select(file_frames.c.frame).join(files).where(here)
                    lost = without_file(connection, connection.execute(held).scalars())
                    facts_changed(connection, forget_dead_jobs(connection, lost))
                # Members stay absent that went before the archive itself did: they have no frame any more.
                linked = files.c.id.in_(select(file_frames.c.file))
                back = or_(files.c.member == "", linked) if present else files.c.present
                connection.execute(update(files).where(here, back).values(present=present))

        if paths:
            self.write(work)
