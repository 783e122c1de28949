"""Whether the commands in the documents print, on the demo's home, what the documents say they print.

Usage: python tools/check_readme.py HOME [--write] (made by ``make demo``). Of README.md the first console block counts, of
docs/queries.md every one. Exit code 1, with both texts, where they differ; with --write the documents are made to agree.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
WIDTH = "100"


def blocks(path: Path) -> list[str]:
    """The console blocks of a document."""
    return re.findall(r"^```console\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def main() -> int:
    """Compare; the exit code."""
    home = Path(sys.argv[1]).resolve()
    environment = {**os.environ, "COLUMNS": WIDTH, "AVCD_HOME": str(home)}
    differing = 0
    for path, number in ((REPOSITORY / "README.md", 1), (REPOSITORY / "docs" / "queries.md", None)):
        text = path.read_text(encoding="utf-8")
        for block in blocks(path)[:number]:
            for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                line, _, expected = part.partition("\n")
                words = [sys.executable, "-m", "avcd", *shlex.split(line)[1:]]
                found = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=home, check=True)
                if found.stdout.strip() == expected.strip():
                    continue
                differing += 1
                print(f"$ {line}\nthe document says:\n{expected}\nit prints:\n{found.stdout}", file=sys.stderr)
                text = text.replace(expected.strip("\n"), found.stdout.rstrip())
        if "--write" in sys.argv:
            path.write_text(text, encoding="utf-8")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
