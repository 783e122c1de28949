"""One daemon per home."""

import os
import socket
import subprocess
import sys

import pytest

from avcd.daemon.lock import HomeLock, holder_pid
from avcd.daemon.notify import notify, watchdog_interval_s
from avcd.errors import HomeLockedError


def test_a_second_holder_is_refused_with_the_first_ones_pid(tmp_path):
    path = tmp_path / "avcd.lock"
    with HomeLock(path):
        assert holder_pid(path) == os.getpid()
        with pytest.raises(HomeLockedError, match=rf"pid {os.getpid()}\b"):
            HomeLock(path).acquire()
    assert holder_pid(path) is None


def test_the_lock_of_a_killed_holder_is_free(tmp_path):
    path = tmp_path / "avcd.lock"
    program = (
        "import sys, os, signal; from pathlib import Path; from avcd.daemon.lock import HomeLock;"
        "HomeLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert path.read_text().strip().isdigit()
    with HomeLock(path):
        assert holder_pid(path) == os.getpid()


def test_word_reaches_the_service_manager(tmp_path, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert notify("READY=1") is False
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(address))
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        assert notify("READY=1") is True
        assert server.recv(64) == b"READY=1"


def test_signs_of_life_come_at_half_the_limit(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_interval_s() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_interval_s() is None
