"""Pictures of motifs: well-formed, without scripts, with what the motif has."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from built_motifs import built
from coevo.analysis.motifs.motifs import motifs_of
from coevo.configs.references import load_references
from coevo.report.motif_pictures import motif_svg

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def pictures():
    motifs = {}
    for reference in load_references("li-p-s", ["Li", "P", "S"]):
        motifs.update({motif.name: motif for motif in motifs_of(reference.structure)})
    for text in ("P-Sa P-Sb P-Sc Sc-Sd Sd-P>", "S1-S2 S2-S3 S3-S1>", "P1-Sa P1-Sb P2-Sc P2-Sd P1-Se P1-Sf P2-Se P2-Sf"):
        (motif,) = motifs_of(built(text))
        motifs[motif.name] = motif
    return {name: (motif, ET.fromstring(motif_svg(motif))) for name, motif in motifs.items()}


def test_atoms_and_bonds_are_all_there(pictures):
    assert len(pictures) > 10
    for motif, picture in pictures.values():
        assert [text.text for text in picture.iter(f"{SVG}text")].count("P") == motif.symbols.count("P")
        assert len(list(picture.iter(f"{SVG}circle"))) == len(motif.symbols)
        leaving = sum(
            np.abs(np.array(motif.positions[i]) + vector - motif.positions[j]).max() > 0.01 for i, j, vector in motif.bonds
        )
        dashed = [line for line in picture.iter(f"{SVG}line") if line.get("stroke-dasharray")]
        assert len(dashed) == 2 * leaving
        assert len(list(picture.iter(f"{SVG}line"))) == len(motif.bonds) + leaving


def test_everything_is_inside_and_no_atom_hides_another(pictures):
    for _, picture in pictures.values():
        width, height = float(picture.get("width")), float(picture.get("height"))
        balls = [[float(c.get(key)) for key in ("cx", "cy", "r")] for c in picture.iter(f"{SVG}circle")]
        for x, y, r in balls:
            assert r <= x <= width - r
            assert r <= y <= height - r
        if len(balls) <= 14:
            gaps = [np.hypot(a[0] - b[0], a[1] - b[1]) for k, a in enumerate(balls) for b in balls[:k]]
            assert min(gaps, default=99.0) > 0.5 * balls[0][2]


@pytest.mark.long
def test_no_scripts_no_links_and_the_same_every_time(pictures):
    allowed = {f"{SVG}{tag}" for tag in ("svg", "title", "line", "circle", "text")}
    for motif, picture in pictures.values():
        assert {element.tag for element in picture.iter()} <= allowed
        assert not any(key.lower().startswith("on") or "href" in key for element in picture.iter() for key in element.keys())  # noqa: SIM118
        assert motif_svg(motif) == motif_svg(motif)
        assert "nan" not in motif_svg(motif)


def test_the_title_names_motif_and_charge(pictures):
    assert pictures["PS4"][1].find(f"{SVG}title").text == "PS4 3-"
    assert pictures["(PS4)n chain"][1].get("aria-label") == "(PS4)n chain -"
    assert pictures["P4S10 cage"][1].find(f"{SVG}title").text == "P4S10 cage"


def test_an_element_of_no_colour_and_a_large_layer():
    arsenic = Structure.from_spacegroup("R-3m", Lattice.hexagonal(3.76, 10.55), ["As"], [[0, 0, 0.227]])
    (motif,) = motifs_of(arsenic.make_supercell([4, 4, 1], in_place=False))[:1]
    picture = ET.fromstring(motif_svg(motif, width=300, height=200))
    assert len(list(picture.iter(f"{SVG}circle"))) == len(motif.symbols) >= 32
    assert (picture.get("width"), picture.get("height")) == ("300", "200")
