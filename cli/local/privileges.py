"""Running Postgres, which refuses to be root, when we are root."""

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from cli.local.errors import StartError

PUBLIC_STATE = Path("/var/lib/setr")
"""Where root keeps what the unprivileged user cannot reach in its proper place. Nothing tidies it, unlike /var/tmp."""

_UNPRIVILEGED = "nobody"


def unprivileged_user() -> str | None:
    """The user to run Postgres as: None (ourselves) unless we are root. Raises StartError where there is none."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(_UNPRIVILEGED)
    except KeyError as error:
        raise StartError(
            f"Postgres refuses to run as root, and this machine has no user {_UNPRIVILEGED!r} to run it as. "
            "Run setr as an ordinary user."
        ) from error
    return _UNPRIVILEGED


def can_enter(folder: Path, user: str) -> bool:
    """Whether `user` may pass through `folder` and all folders above it, by their mode bits (existing ones only)."""
    entry = pwd.getpwnam(user)
    folder = folder.resolve()
    return all(_may_pass(part.stat(), entry) for part in (folder, *folder.parents) if part.exists())


def _may_pass(status: os.stat_result, entry: pwd.struct_passwd) -> bool:
    if status.st_uid == entry.pw_uid:
        bit = stat.S_IXUSR
    elif status.st_gid == entry.pw_gid:
        bit = stat.S_IXGRP
    else:
        bit = stat.S_IXOTH
    return bool(status.st_mode & bit)


def reachable_folder(link: Path, user: str | None) -> Path:
    """The folder `link`, made when missing, that `user` can reach and (if not None) owns.

    Where `user` cannot enter the parent of `link` (a clone in root's home, say), the folder is made under PUBLIC_STATE
    and `link` becomes a symbolic link to it, so that the data folder stays the one place that knows all data.
    Raises StartError when neither place will do.
    """
    if not link.exists():
        if link.is_symlink():
            raise StartError(
                f"{link} points to {link.readlink()}, which is gone. Remove {link.parent} to start afresh."
            )
        _make_reachable(link, user)
    folder = link.resolve()
    if user is not None:
        _check_reachable(folder, user)
        _give(folder, user)
    return folder


def _make_reachable(link: Path, user: str | None) -> None:
    if user is None or can_enter(link.parent, user):
        link.mkdir(mode=0o700)
        return
    link.symlink_to(Path(tempfile.mkdtemp(prefix=f"{link.name}-", dir=_public_state())))


def _check_reachable(folder: Path, user: str) -> None:
    if not can_enter(folder.parent, user):
        raise StartError(
            f"As root, Postgres runs as {user!r}, who may not enter {folder.parent}. Move the data folder to a place "
            "that everybody can enter, such as /srv/setr (SETR_DATA_DIR), or run setr as an ordinary user."
        )


def _give(folder: Path, user: str) -> None:
    try:
        shutil.chown(folder, user=user, group=pwd.getpwnam(user).pw_gid)
    except OSError as error:
        raise StartError(
            f"Cannot give {folder} to {user!r} ({error.strerror}), and Postgres refuses to run as root. "
            "Run setr as an ordinary user."
        ) from error


def _public_state() -> Path:
    try:
        PUBLIC_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(
            f"Cannot make {PUBLIC_STATE} ({error.strerror}), where root keeps Postgres's data. Choose a data folder "
            "that everybody can enter, such as /srv/setr (SETR_DATA_DIR), or run setr as an ordinary user."
        ) from error
    return PUBLIC_STATE


def reachable_copy(root: Path, user: str | None, *, parts: tuple[str, ...]) -> Path:
    """`root` itself where `user` can enter it, else a copy of its `parts` (relative paths) under PUBLIC_STATE.

    The first part is a program; another size or date of it makes another copy.
    """
    program = root / parts[0]
    if user is None or can_enter(program.parent, user):
        return root
    status = program.stat()
    copy = _public_state() / f"{program.name}-programs-{status.st_size}-{int(status.st_mtime)}"
    if not copy.exists():
        scratch = Path(tempfile.mkdtemp(prefix=f"{program.name}-", dir=_public_state()))
        for part in parts:
            _copy(root / part, scratch / part)
        for path in (scratch, *scratch.rglob("*")):
            _let_everybody_read(path)
        scratch.rename(copy)
    return copy


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _let_everybody_read(path: Path) -> None:
    mode = path.stat().st_mode
    path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
