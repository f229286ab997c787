"""What a command writes where the user says: whole, and over nothing that was there unless it may."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from printed import Printed, printed

from coevo.errors import StorageError
from coevo.output.files import check_directory, check_place, is_stdout, write_file, write_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiny_node import Coevo

__all__ = ["printed"]


def test_a_new_file_is_written_with_the_users_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "new.csv", "a\n")
    finally:
        os.umask(mask)
    assert (tmp_path / "new.csv").read_text() == "a\n"
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("precious")
    file.chmod(0o600)
    with pytest.raises(StorageError, match="is there already and is not overwritten; choose another name, or add --force"):
        write_text(file, "new")
    assert file.read_text() == "precious"
    write_text(file, "new", force=True)
    assert file.read_text() == "new"
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("precious")

    def fail(open_file: object) -> None:
        open_file.write("half")  # type: ignore[attr-defined]
        raise RuntimeError

    for target, force in ((file, True), (tmp_path / "other", False)):
        with pytest.raises(RuntimeError):
            write_file(target, fail, force=force)
    assert file.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_who_comes_first_keeps_the_name(tmp_path: Path) -> None:
    """A file that appears during the work is not overwritten either."""
    file = tmp_path / "x"
    with pytest.raises(StorageError, match="meanwhile"):
        write_file(file, lambda open_file: (open_file.write("late"), file.write_text("early")))
    assert file.read_text() == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_link_leads_to_the_file_that_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link, target = tmp_path / "link", tmp_path / "elsewhere" / "file"
    link.symlink_to(target)
    with pytest.raises(StorageError, match="is there already"):
        write_text(link, "new")
    assert not target.exists()
    write_text(link, "new", force=True)
    assert link.is_symlink()
    assert target.read_text() == "new"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is a directory"),
        ("no/such/x", "there is no directory"),
        ("file/x", "there is no directory"),
        ("a" * 300, "too long"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_places_where_no_file_can_be(tmp_path: Path, name: str, message: str, force: bool) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=message):
        write_text(tmp_path / name, "new", force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="cannot be written to"):
            check_place(tmp_path / "x", force=False)
    finally:
        tmp_path.chmod(0o700)


def test_pipes_and_devices_are_written_to_as_they_are(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write_text(fifo, "text\n")
    reader.join(120)
    assert read == ["text\n"]
    write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    out, into = os.pipe()
    write_text(Path(f"/dev/fd/{into}"), "text\n")
    os.close(into)
    with os.fdopen(out) as pipe:
        assert pipe.read() == "text\n"


def test_standard_output_by_its_names() -> None:
    assert all(is_stdout(place) for place in (None, Path("-"), Path("/dev/stdout"), Path("/dev/fd/1")))
    assert not is_stdout(Path("x"))


def test_a_directory_is_refused_for_the_files_that_would_be_replaced_only(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    check_directory(tmp_path, ("summary.json",), force=False)
    check_directory(tmp_path / "new", ("summary.json",), force=False)
    (tmp_path / "summary.json").write_text("mine")
    with pytest.raises(StorageError, match=r"summary\.json: it is there already"):
        check_directory(tmp_path, ("summary.json",), force=False)
    check_directory(tmp_path, ("summary.json",), force=True)
    with pytest.raises(StorageError, match="is no directory"):
        check_directory(tmp_path / "notes.txt", ("summary.json",), force=True)


CIF = """data_x
_symmetry_space_group_name_H-M 'P 1'
_cell_length_a 5.6
_cell_length_b 5.6
_cell_length_c 5.6
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Li Li 0 0 0
S S 0.5 0.5 0.5
"""


@pytest.fixture
def commands(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str | Path, ...]]:
    """Commands that write into ``place``."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{finished.database}")
    monkeypatch.setenv("COEVO_WORKERS", "1")
    cif, place = tmp_path / "x.cif", tmp_path / "place"
    cif.write_text(CIF)
    return {
        "export": ("export", "tiny", place),
        "query": ("query", "tiny", "--format", "csv", "--output", place),
        "cif": ("query", "tiny", "--format", "cif", "--output", place),
        "motifs": ("motifs", cif, "--format", "json", "--output", place),
        "rediscover": ("rediscover", "tiny", "--against", "li-p-s", "--save", place.with_suffix(".json")),
    }


@pytest.mark.parametrize("name", ["export", "query", "cif", "motifs", "rediscover"])
def test_commands_overwrite_nothing_without_force(
    name: str, commands: dict[str, tuple[str | Path, ...]], printed: Callable[..., Printed], tmp_path: Path
) -> None:
    command = commands[name]
    place = Path(command[-1])
    place.write_text("precious")
    done = printed(*command)
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert "is not overwritten" in done.err
    assert "--force" in done.err
    assert place.read_text() == "precious"
    assert printed(*command, "--force").code == 0
    assert place.read_bytes() != b"precious"
    place.unlink()
    place.mkdir()
    if name == "cif":  # a directory gets one file for each entry
        assert printed(*command).code == 0
        assert len(list(place.glob("*.cif"))) > 1
        done = printed(*command)
        assert (done.code, "is not overwritten" in done.err) == (2, True)
        return
    for options in ((), ("--force",)):
        done = printed(*command, *options)
        assert done.code == 2
        assert "it is a directory" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({place.name, "x.cif"})


def test_an_analysis_overwrites_nothing_without_force(
    commands: dict[str, tuple[str | Path, ...]], printed: Callable[..., Printed], tmp_path: Path
) -> None:
    command = ("analyse", tmp_path / "x.cif", "--output", tmp_path / "folder")
    assert printed(*command).code == 0
    assert printed(*command).code == 0, "an earlier analysis may be replaced"
    (tmp_path / "folder" / "structures.csv").write_text("precious")
    done = printed(*command)
    assert done.code == 2
    assert "summary.json: it is there already" in done.err
    assert (tmp_path / "folder" / "structures.csv").read_text() == "precious"
    assert printed(*command, "--force").code == 0
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["structures.csv", "summary.json"]


def test_standard_output_is_printed_to_and_no_place_for_a_bundle(
    commands: dict[str, tuple[str | Path, ...]], printed: Callable[..., Printed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = printed("query", "tiny", "--format", "csv").out
    for place in ("-", "/dev/stdout"):
        assert printed("query", "tiny", "--format", "csv", "--output", place).out == rows
        assert printed("export", "tiny", place).code == 2
    assert printed("export", "tiny", "/dev/null", "--force").code == 2
    assert Path("/dev/null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.cif"]
