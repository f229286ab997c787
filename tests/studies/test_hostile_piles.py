"""Piles of crystals in files that a stranger made: bombs, names, damage, and JSON of any form."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.errors import AnalysisError
from coevo.processes import Workers
from coevo.studies.analyse.batch import read_pile
from coevo.studies.piles import json_values as analyse_json
from coevo.studies.piles import sources as analyse_sources
from coevo.studies.piles.parsing import limits_for
from coevo.studies.piles.rows import Row
from crystal_piles import cif_text, displaced, known_phases, write_extxyz, write_zip

PHASES = known_phases()
LI2S = PHASES["Li2S"]


def read(path: Path, elements: str | None = None, max_atoms: int = 200, workers: int = 1) -> list[Row]:
    return read_pile(path, limits_for(elements, max_atoms), Workers(workers))[0]


# --- files from a stranger


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("bomb.cif", "w") as member:
            for _ in range(64):
                member.write(b"#" * 2**20)
        archive.writestr("good.cif", cif_text(LI2S))
    assert path.stat().st_size < 2**17
    read(write_zip(tmp_path / "warm.zip", {"good.cif": cif_text(LI2S)}))
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(row.id, row.reason) for row in rows] == [("bomb.cif", "too_large"), ("good.cif", None)]
    assert peak < 32 * 2**20, f"{peak} bytes were held for a member of 64 MB"


def test_a_gzip_bomb_is_read_in_pieces(tmp_path: Path) -> None:
    import tracemalloc

    line = b"# " + b"x" * 998 + b"\n"
    with gzip.open(tmp_path / "bomb.cif.gz", "wb") as file:
        file.write(b"data_bomb\n_cell_length_a 4\n" + line * 65_000 + cif_text(LI2S).encode())
    tracemalloc.start()
    rows = read(tmp_path / "bomb.cif.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [row.reason for row in rows] == ["too_large", None]
    assert peak < 40 * 2**20


def test_names_of_members_lead_nowhere(tmp_path: Path) -> None:
    inner = tmp_path / "in"
    inner.mkdir()
    good = cif_text(LI2S)
    path = write_zip(inner / "evil.zip", {"../../out.cif": good, "/etc/out.cif": good, "a\x1b[2Jb.cif": good, "deep/": ""})
    rows = read(path)
    assert [row.reason for row in rows] == [None] * 3
    assert [row.id for row in rows] == ["../../out.cif", "/etc/out.cif", "a?[2Jb.cif"]
    assert sorted(tmp_path.rglob("*.cif")) == []


def test_members_of_one_name_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.cif", cif_text(LI2S))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.cif", cif_text(PHASES["Li3P"]))
    assert [(row.id, row.formula) for row in read(path)] == [("a.cif", "Li2S"), ("a.cif (2)", "Li3P")]


def test_damaged_members_are_counted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "d.zip", {f"{name}.cif": cif_text(LI2S) for name in "abc"})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        damaged, encrypted = archive.infolist()[0], archive.infolist()[1]
        start = damaged.header_offset + 30 + len("a.cif")
        data[start + 20 : start + 40] = bytes(20)
    central = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4)
    data[central + 8] |= 1  # the flag of encryption, in both headers
    data[encrypted.header_offset + 6] |= 1
    path.write_bytes(data)
    rows = read(path)
    assert [row.reason for row in rows] == ["unreadable", "unreadable", None]
    assert "encrypted" in str(rows[1].detail)


def test_a_gzip_file_that_is_cut_short_keeps_what_came_before(tmp_path: Path) -> None:
    structures = [displaced(LI2S, 0.1, seed) for seed in range(1200)]
    whole = write_extxyz(tmp_path / "w.extxyz", structures).read_bytes()
    packed = gzip.compress(whole)
    (tmp_path / "cut.extxyz.gz").write_bytes(packed[: len(packed) // 2])
    rows = read(tmp_path / "cut.extxyz.gz")
    assert 200 < len(rows) < 1200
    assert Counter(row.reason for row in rows[:-1]) == {None: len(rows) - 1}
    assert rows[-1].reason == "unreadable"
    assert "breaks off" in str(rows[-1].detail)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[%s, %s", [None, None, "unreadable"]),
        ("[%s, {broken, %s]", [None, "unreadable"]),
        ("%s\n{broken\n%s\n", [None, "unreadable", None]),
        ("{broken\n%s\n%s\n", ["unreadable", None, None]),
        ('{"phases": [%s, %s]}', [None, None]),
        ("\n\n%s\n\n%s\n\n", [None, None]),
        ("[" * 100_000 + "%.0s%.0s", ["unreadable"]),
        ("no json %.0s%.0s", ["unreadable"]),
    ],
)
def test_broken_json(tmp_path: Path, text: str, expected: list[str | None]) -> None:
    one = json.dumps(LI2S.as_dict())
    path = tmp_path / "b.json"
    path.write_text(text % (one, one))
    assert [row.reason for row in read(path)] == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.zip", None, "no such file"),
        ("empty.extxyz", b"", "is empty"),
        ("blank.extxyz", b"\n\n", "holds no structure"),
        ("blank.json", b" \n", "holds no structure"),
        ("list.json", b"[]", "holds no structure"),
        ("crystal.cssr", b"x", "unknown kind"),
        ("broken.zip", b"PK\x03\x04 and nothing more", "called .zip and is none"),
    ],
)
def test_a_file_without_structures_is_an_error(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AnalysisError, match=message):
        read(tmp_path / name)


def test_zips_and_directories_without_cif_are_errors_that_say_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"no \.cif and no POSCAR among its 1 members"):
        read(write_zip(tmp_path / "x.zip", {"readme.txt": "x"}))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(AnalysisError, match="is an empty directory"):
        read(folder)
    write_extxyz(folder / "generated_crystals.extxyz", [LI2S])
    with pytest.raises(AnalysisError, match=r"generated_crystals\.extxyz"):
        read(folder)


# --- JSON in pieces

OBJECTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(OBJECTS, min_size=1, max_size=6),
    chunk=st.integers(1, 50),
    indent=st.none() | st.integers(0, 3),
    lines=st.booleans(),
)
def test_json_in_pieces_is_json(values: list[Any], chunk: int, indent: int | None, lines: bool) -> None:
    values = [{**value, "lattice": 0} for value in values]
    text = "\n".join(json.dumps(v) for v in values) if lines else "  " + json.dumps(values, indent=indent) + "\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analyse_json, "_CHUNK", chunk)
        found = list(analyse_json.json_items(io.StringIO(text), limit=10**6))
    assert [item.problem for item in found] == [None] * len(values)
    assert [item.value for item in found] == values


def test_an_element_of_a_list_that_never_ends_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyse_sources, "MAX_TEXT", 10_000)
    monkeypatch.setattr(analyse_json, "_CHUNK", 1000)
    (tmp_path / "long.json").write_text('[{"sites": [' + "0, " * 10**6)
    (row,) = read(tmp_path / "long.json")
    assert (row.reason, "10000 characters" in str(row.detail)) == ("unreadable", True)
