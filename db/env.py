"""Alembic's environment: migrations run on the connection that `avcd db upgrade` hands in."""

from __future__ import annotations

from typing import Any

from alembic import context

from avcd.catalog.models import metadata


def _include(_object: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:
    """The index into the header's JSON is PostgreSQL's alone."""
    sqlite = context.get_context().dialect.name == "sqlite"
    return not (sqlite and kind == "index" and name == "ix_frame_header")


def run() -> None:
    connection = context.config.attributes.get("connection")
    if connection is None:
        raise SystemExit("migrations run through: avcd db upgrade")
    # SQLite changes columns by copying the table, and can do so inside the transaction.
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,
        include_object=_include,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
