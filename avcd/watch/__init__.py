"""Drop directories: which files have settled, and hints from the file system that something moved.

Hints may be lost, doubled or early; the periodic rescan is the truth. A file is settled when its size and times stood
still for a while: transfer programs write in pieces, pause, rename, and set times back.
"""

from __future__ import annotations

from avcd.watch.canary import Sounding, remote_file_system, sound
from avcd.watch.drops import DropWatcher
from avcd.watch.settled import SettledFiles

__all__ = ["DropWatcher", "SettledFiles", "Sounding", "remote_file_system", "sound"]
