"""Where Postgres's unprivileged user can go."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local import privileges
from cli.local.errors import StartError
from cli.local.privileges import can_enter, reachable_copy, reachable_folder, unprivileged_user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
PARTS = ("bin/program", "share")


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place that everybody can enter, standing for /var/lib/setr; pytest's own folders are private."""
    with tempfile.TemporaryDirectory(prefix="setr-") as parent:
        Path(parent).chmod(0o711)
        monkeypatch.setattr(privileges, "PUBLIC_STATE", Path(parent) / "setr")
        yield Path(parent) / "setr"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def test_an_ordinary_user_keeps_to_its_own_folder(tmp_path: Path) -> None:
    folder = reachable_folder(tmp_path / "postgres", None)
    assert folder == tmp_path.resolve() / "postgres"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert reachable_folder(tmp_path / "postgres", None) == folder
    assert reachable_copy(tmp_path, None, parts=PARTS) == tmp_path


def test_a_link_to_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "postgres").symlink_to(tmp_path / "gone")
    with pytest.raises(StartError, match="which is gone"):
        reachable_folder(tmp_path / "postgres", None)


@as_root
def test_root_runs_postgres_as_somebody_else() -> None:
    assert unprivileged_user() == "nobody"


@as_root
def test_a_private_folder_cannot_be_entered(private: Path) -> None:
    (private / "clone").mkdir()
    assert not can_enter(private, "nobody")
    assert not can_enter(private / "clone", "nobody")
    assert can_enter(Path("/usr/bin"), "nobody")


@as_root
def test_data_in_a_private_place_is_kept_elsewhere_and_linked(private: Path, public: Path) -> None:
    folder = reachable_folder(private / "postgres", "nobody")
    assert folder.parent == public.resolve()
    assert folder.owner() == "nobody"
    assert (private / "postgres").is_symlink()
    assert reachable_folder(private / "postgres", "nobody") == folder
    assert can_enter(folder, "nobody")


@as_root
def test_data_that_became_unreachable_is_an_error(private: Path) -> None:
    (private / "postgres").mkdir()
    with pytest.raises(StartError, match="may not enter"):
        reachable_folder(private / "postgres", "nobody")


@as_root
def test_programs_in_a_private_place_are_copied_once(private: Path, public: Path) -> None:
    (private / "bin").mkdir()
    (private / "bin" / "program").write_text("#!/bin/sh\n")
    (private / "share").mkdir()
    (private / "share" / "data").write_text("text")
    (private / "share" / "data").chmod(0o600)
    copy = reachable_copy(private, "nobody", parts=PARTS)
    assert copy.parent == public
    assert (copy / "bin" / "program").read_text() == "#!/bin/sh\n"
    assert (copy / "share" / "data").read_text() == "text"
    assert can_enter(copy / "share", "nobody")
    assert (copy / "share" / "data").stat().st_mode & 0o777 == 0o644
    assert reachable_copy(private, "nobody", parts=PARTS) == copy
    assert list(public.iterdir()) == [copy]
