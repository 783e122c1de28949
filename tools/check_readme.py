"""Whether the README's commands print, on the demo's home, what the README says they print.

Usage: python tools/check_readme.py HOME (made by ``make demo``). Exit code 1, with both texts, where they differ.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
WIDTH = "100"


def main() -> int:
    """Compare; the exit code."""
    home = sys.argv[1]
    block = re.search(r"^```console\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert block is not None
    differing = 0
    for part in re.split(r"^\$ ", block.group(1), flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        words = [sys.executable, "-m", "avcd", *shlex.split(line)[1:], "--home", home]
        found = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "COLUMNS": WIDTH}, check=True)
        if found.stdout.strip() != expected.strip():
            differing += 1
            print(f"$ {line}\nREADME says:\n{expected}\nit prints:\n{found.stdout}", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
