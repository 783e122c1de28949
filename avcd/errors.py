"""Every error avcd raises on purpose, as one tree; the class says whether trying again can help.

AvcdError
├── ConfigError              settings, recipes or profiles are wrong: the user mends them, exit code 2
├── UsageError               a command was called with something that does not exist, exit code 2
├── HomeLockedError          another daemon works on this home (its pid is in the message)
├── InputError               the file itself is bad: recorded with its reason, never tried again
│   ├── FrameError           the file is not readable as FITS, or is truncated
│   ├── HeaderError          a header value has no certain meaning
│   └── ArchiveError         a zip or gzip that is broken, or not safe to unpack
├── ProcessingError          the stage cannot work on these inputs: the job dies with the reason
├── ProductError             a product on disk is missing, changed, or not what its row says
├── UnmatchedError           no usable calibration yet: the job waits, with its verdicts
├── LeaseLostError           somebody else owns the job now: this attempt's result is dropped
└── TransientError           disk, database, worker: tried again with backoff
    ├── StorageError         the disk is full or the file system answers with an error
    └── DatabaseBusyError    the database is locked or not reachable
"""

from __future__ import annotations

from typing import ClassVar


class AvcdError(Exception):
    """Base of everything avcd raises on purpose."""

    retry: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class ConfigError(AvcdError):
    """Settings, a recipe, a rule set or an instrument profile is wrong; the message says where and how to mend it."""

    exit_code = 2


class UsageError(AvcdError):
    """A command names something that does not exist, or asks for what cannot be."""

    exit_code = 2


class HomeLockedError(AvcdError):
    """Another daemon already works on this home."""


class InputError(AvcdError):
    """The file is bad; the reason is recorded and the file is left alone."""


class FrameError(InputError):
    """The file is not readable as FITS, or is truncated."""


class HeaderError(InputError):
    """A header value has no certain meaning."""


class ArchiveError(InputError):
    """A compressed file or archive is broken, or not safe to unpack."""


class ProcessingError(AvcdError):
    """A stage cannot work on these inputs; the job dies with this reason."""


class ProductError(AvcdError):
    """A product on disk is missing, changed, or not what its row says."""


class UnmatchedError(AvcdError):
    """No usable calibration yet; the job waits, with its verdicts."""


class LeaseLostError(AvcdError):
    """The job's lease belongs to somebody else now; this attempt's result is dropped."""


class TransientError(AvcdError):
    """Something that may pass by itself: the job is tried again after a pause."""

    retry = True


class StorageError(TransientError):
    """The disk is full, or the file system answers with an error."""


class DatabaseBusyError(TransientError):
    """The database is locked or not reachable."""
