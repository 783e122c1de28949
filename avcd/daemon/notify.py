"""Word to systemd over its socket: ready, alive, stopping. Without systemd these calls do nothing."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send ``state`` (``READY=1``, ``WATCHDOG=1``, ``STATUS=…``) to the service manager.

    Returns
    -------
    bool
        Whether there was one to tell.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket is written so in the environment
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link:
        link.sendto(state.encode(), address)
    return True


def watchdog_interval_s() -> float | None:
    """How often the service manager wants a sign of life: half its limit; None when it wants none."""
    limit = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (pid.isdigit() and int(pid) != os.getpid()):
        return None
    return int(limit) / 2e6
