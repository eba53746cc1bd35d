"""Run a program on one core: `python -m benchmarks.scaleout.pinned CORE PROGRAM [ARGUMENT ...]` (Linux)."""

import os
import sys


def main(arguments: list[str]) -> None:
    """Never returns: replaces this process by the program."""
    core, *argv = arguments
    os.sched_setaffinity(0, {int(core)})
    os.execvp(argv[0], argv)  # noqa: S606 - the program is ours, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
