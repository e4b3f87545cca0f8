"""The command line: one thin function per command. Answers go to stdout, everything else to stderr.

`main` imports nothing but a client: where a service holds the library (`mmi-tvr serve`), it runs the command, and
nothing of what makes one slow to start is loaded here.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run a command. Exit code 0: done; 1: failed; 2: wrong use; 130: interrupted."""
    from . import _client

    code = _client.run(sys.argv[1:])
    if code is None:
        from .app import run

        run()
    sys.exit(code)
