"""`python -m app COMMAND …`: arguments to command, problems to standard error, the outcome to the exit status."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from app.cli.parser import command_line, read
from app.errors import PatchbayError

QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
"""For libraries that would report home, or look for news at each start."""


def _serve(arguments: argparse.Namespace) -> int:
    from app.server.serve import serve

    return serve(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run one command: 0 when it did what was asked, 1 for a problem of the input, 2 for a wrong command line."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    os.environ.update(QUIET)
    chosen = read(command_line(_serve), arguments)
    try:
        return int(chosen.run(chosen))
    except PatchbayError as error:
        told = [str(problem) for problem in error.problems] or [str(error)]
        print("\n".join(" ".join(line.split("\n")) for line in told), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
