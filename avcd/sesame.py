"""Names of targets resolved by Sesame, the name server of the CDS (Simbad, NED, VizieR); asked only when somebody says so."""

from __future__ import annotations

import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable

from avcd.errors import TransientError

URL = "https://cds.unistra.fr/cgi-bin/nph-sesame/-oI/SNV?"
_TIMEOUT_S = 20.0
_LONGEST = 1_000_000
_POSITION = re.compile(r"^%J\s+([0-9.]+)\s+([+-]?[0-9.]+)", re.MULTILINE)

Fetch = Callable[[str], str]


def ask_sesame(name: str, fetch: Fetch | None = None) -> tuple[float, float] | None:
    """Right ascension and declination of a name, ICRS degrees; None where nobody knows it.

    Parameters
    ----------
    name
        As headers have it, such as "M 42".
    fetch
        From a URL to the text that lies there; None: from the network.

    Raises
    ------
    TransientError
        The server does not answer.
    """
    answer = (fetch or _fetch)(URL + urllib.parse.quote(name))
    found = _POSITION.search(answer)
    return None if found is None else (float(found.group(1)), float(found.group(2)))


def _fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            text: bytes = answer.read(_LONGEST)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise TransientError(f"the name server does not answer ({reason}); {url}") from error
    return text.decode("utf-8", "replace")
