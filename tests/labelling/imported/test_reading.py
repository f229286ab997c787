"""What a file is, by its content: names, compression, byte order marks, and what is no file of labels."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
from pw_cases import RECORDINGS
from vasprun_text import Run

from coevo.errors import LabellingError
from coevo.labelling.imported import read_labels, reading

OUTPUT = (RECORDINGS / "scf" / "pw.out").read_bytes()
VASPRUN = Run().text().encode()
XYZ = b"""2
Lattice="3.4 0 0 0 3.4 0 0 0 3.4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-3.8 pbc="T T T"
Li 0 0 0 0.1 0 0
Li 1.7 1.7 1.7 -0.1 0 0
"""
KINDS = {"pw.x": OUTPUT, "vasprun": VASPRUN, "extxyz": XYZ}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("suffix", "pack"),
    [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".dat", gzip.compress)],
)
def test_packed_files_are_read_as_they_are_unpacked(tmp_path: Path, kind: str, suffix: str, pack: object) -> None:
    path = tmp_path / f"mine.extxyz{suffix}"  # the name says nothing of the content
    path.write_bytes(pack(KINDS[kind]))  # type: ignore[operator]
    imported = read_labels(path, functional="PBE")
    assert imported.settings.parameters["source"] == kind
    assert imported.frames[0].converged
    assert sorted(item.name for item in tmp_path.iterdir()) == [path.name]


@pytest.mark.parametrize("name", ["vasprun.xml.relax1", "vasprun.xml.static.gz", "aiida.out", "slurm-17.log", "output"])
def test_the_name_does_not_matter(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = VASPRUN if "vasprun" in name else OUTPUT
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_labels(path).settings.functional == "PBE"


@pytest.mark.parametrize("kind", KINDS)
def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "marked.xyz"
    path.write_bytes(b"\xef\xbb\xbf" + KINDS[kind])
    assert len(read_labels(path, functional="PBE").frames) == 1
    if kind != "vasprun":  # which declares an encoding of its own
        path.write_bytes(KINDS[kind].decode().encode("utf-16"))
        assert len(read_labels(path, functional="PBE").frames) == 1


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)])
def test_what_swells_without_bound_is_not_unpacked(
    tmp_path: Path, suffix: str, pack: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SMALL", 2**20)
    path = tmp_path / f"run.xyz{suffix}"
    path.write_bytes(pack(XYZ + b"#" * 2**25))  # type: ignore[operator]
    with pytest.raises(LabellingError, match="MiB unpacked, 200 times what it is packed"):
        read_labels(path, functional="PBE")


def test_what_is_no_file_of_labels_is_told_with_what_was_looked_for(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.xml", b"<html><p>no</p></html>", "its root is <html>; looked for: vasprun.xml"),
        ("b.out", b"nothing of this\n", "not a file of labels; looked for: .*Program PWSCF"),
        ("c.dat", b"\n \n", "the file is empty"),
        ("d.cif", b"data_x\n_cell_length_a 3\n", "not a file of labels; looked for"),
        ("OUTCAR", b" vasp.6.4.2 20Jul23\n executed on\n", "is an OUTCAR of VASP; give the vasprun.xml"),
        ("ph.out", b"     Program PHONON v.6.7 starts\n", "is an output of ph.x"),
        ("pw.in", b"&control\n calculation='scf'\n/\n", "is an input of pw.x; give its output"),
        ("e.xyz.gz", gzip.compress(XYZ)[:-12], "damaged"),
        ("f.xml", b"<modeling>", "cut off before its first ionic step"),
        ("g.xyz", b"2\n\nLi 0 0\n", "1 unreadable .*the file ends within a frame of 2 atoms"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(LabellingError, match=message) as caught:
            read_labels(path, functional="PBE")
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    with pytest.raises(LabellingError, match="no such file"):
        read_labels(tmp_path / "none.xyz")
    with pytest.raises(LabellingError, match="is a directory; name its files"):
        read_labels(tmp_path)


def test_what_was_taken_is_named() -> None:
    taken = read_labels(RECORDINGS / "scf" / "pw.out").taken
    assert set(taken) == {"functional", "energy", "forces", "stress", "convergence"}
    assert taken["energy"] == "!    total energy"
