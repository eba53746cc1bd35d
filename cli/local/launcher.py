"""Become a supervised child: drop privileges, tie our life to the supervisor's, run the program.

Run as a script, `python -I -S launcher.py SUPERVISOR_PID SIGNAL USER PROGRAM [ARGUMENT ...]` (USER may be empty), with
nothing but the standard library. A program of its own rather than a `preexec_fn`: code between fork and exec may
deadlock once the supervisor has threads. The order matters: the kernel forgets the parent-death signal when the user
changes, and a supervisor that died before the signal was set would never be noticed.
"""

import ctypes
import os
import pwd
import sys

_PR_SET_PDEATHSIG = 1


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _die_with(supervisor_pid: int, signal_number: int) -> None:
    if sys.platform == "linux":  # other systems have no such signal: there, a killed supervisor leaves its children
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal_number) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != supervisor_pid:
        sys.exit("the supervisor is gone")


def main(arguments: list[str]) -> None:
    """Never returns: replaces this process by the program. Raises OSError when that is impossible."""
    supervisor_pid, signal_number, user, *argv = arguments
    if user:
        _become(user)
    _die_with(int(supervisor_pid), int(signal_number))
    os.execvp(argv[0], argv)  # noqa: S606 - the program is the supervisor's choice, and no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
