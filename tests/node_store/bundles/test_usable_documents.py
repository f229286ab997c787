"""Bundles whose hashes fit and whose documents no job could read: refused at the import, with what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from bundle_files import SAFETENSORS, checkpoint_of, embedded, export, new_lineage
from forgeries import SMALL, Forgery, decompressed
from li_p_s_states import NODE

from coevo.errors import BundleError, ConfigError
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.canonical import canonical_json, structure_document_id
from coevo.node_store.evaluation_claims import untrue_claim
from coevo.node_store.identity import evaluations_digest, label_id
from coevo.node_store.seeds import recorded_seed


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("good")
    store = embedded(directory / "db")
    new_lineage(store).commit(checkpoints={"force_field": checkpoint_of(store, SAFETENSORS)})
    return export(store, directory / "good.zip")


def of_labels(change: dict[str, Any]) -> Callable[[Forgery], None]:
    def forge(forgery: Forgery) -> None:
        rows = forgery.lines("labels")
        for row in rows:
            row |= {key: value for key, value in change.items() if value != "left out"}
            for key in [key for key, value in change.items() if value == "left out"]:
                del row[key]
            row["_id"] = label_id(row)
        forgery.put_lines("labels", sorted(rows, key=lambda row: row["_id"]))

        def rename(manifest: dict[str, Any]) -> None:
            manifest["labels"] = dict(zip([row["_id"] for row in rows], manifest["labels"].values(), strict=True))

        forgery.put_manifest(rename)

    return forge


def of_evaluations(change: dict[str, Any]) -> Callable[[Forgery], None]:
    def forge(forgery: Forgery) -> None:
        rows = [row | change for row in forgery.lines("evaluations")]
        forgery.put_lines("evaluations", rows)
        document = forgery.state()
        document["evaluations"]["digest"] = evaluations_digest(rows)
        forgery.put_state(document)

    return forge


def of_structures(change: dict[str, Any]) -> Callable[[Forgery], None]:
    return lambda forgery: forgery.put_lines("structures", [row | change for row in forgery.lines("structures")])


def of_geometry(change: Callable[[dict[str, Any]], None]) -> Callable[[Forgery], None]:
    """Change the geometry of an entry, with all ids, hashes and descriptions that follow from it."""

    def forge(forgery: Forgery) -> None:
        rows, evaluations = forgery.lines("structures"), forgery.lines("evaluations")
        row = rows[0]
        old = row["_id"]
        change(row["structure"])
        new = row["_id"] = structure_document_id(row["structure"])
        row |= {"nsites": len(row["structure"]["sites"]), "elements": elements_of(row["structure"])}
        row["chemsys"] = "-".join(row["elements"])
        forgery.put_lines("structures", sorted(rows, key=lambda row: row["_id"]))
        for evaluation in evaluations:
            if evaluation["structure_id"] == old:
                evaluation["structure_id"] = new
        evaluations.sort(key=lambda row: row["structure_id"])
        forgery.put_lines("evaluations", evaluations)
        document = forgery.state()
        document["evaluations"]["digest"] = evaluations_digest(evaluations)
        forgery.put_state(document)
        forgery.put_manifest(lambda m: m.update(structures=sorted(new if name == old else name for name in m["structures"])))

    return forge


def elements_of(geometry: dict[str, Any]) -> list[str]:
    return sorted({species["element"] for site in geometry["sites"] for species in site["species"]})


def of_cell(*matrix: list[float]) -> Callable[[Forgery], None]:
    return of_geometry(lambda geometry: geometry["lattice"].update(matrix=list(matrix)))


def of_site(**change: Any) -> Callable[[Forgery], None]:
    return of_geometry(lambda geometry: geometry["sites"][0]["species"][0].update(change))


def of_sample(change: Callable[[dict[str, Any]], None]) -> Callable[[Forgery], None]:
    def forge(forgery: Forgery) -> None:
        def put(manifest: dict[str, Any]) -> None:
            iteration, old = next(iter(manifest["samples"].items()))
            rows = [json.loads(line) for line in decompressed(forgery.members.pop(f"blobs/{old[:2]}/{old[2:]}")).splitlines()]
            change(rows[0]["structure"])
            text = b"".join(canonical_json(row) + b"\n" for row in rows)
            manifest["samples"][iteration] = forgery.put_blob(zstandard.ZstdCompressor().compress(text))["sha256"]

        forgery.put_manifest(put)

    return forge


RESIDUAL = {"reference": "a" * 64, "formula": "Li", "value": 0.1}


def of_offsets(change: Any) -> Callable[[Forgery], None]:
    def put(manifest: dict[str, Any]) -> None:
        found = manifest["offsets"]["abc"]
        manifest["offsets"]["abc"] = found | change if isinstance(change, dict) else change

    return lambda forgery: forgery.put_manifest(put)


def of_seed(seed: Any) -> Callable[[Forgery], None]:
    def forge(forgery: Forgery) -> None:
        document = forgery.state()
        document["config"]["node"]["branch_seed"] = seed
        forgery.put_state(document)

    return forge


OPINION = {"energies_above_hull": {"chgnet_1": 0.1, "sevennet_7net_0": -0.2}, "energy_above_hull_std": 0.1}


def test_what_is_forged_without_a_lie_imports(good: Path, tmp_path: Path) -> None:
    forgery = Forgery(good)
    evaluations = of_evaluations({"note": "x", "scale_sensitive": True, "energy_above_hull_uncorrected": 0.2, **OPINION})
    for forge in (of_labels({"detail": "more"}), evaluations, of_offsets({"n": 7, "residuals": [RESIDUAL]}), of_seed(5)):
        forge(forgery)
    forgery.declare()
    store = embedded(tmp_path / "db")
    import_bundle(store, forgery.write(tmp_path / "b.zip"), limits=SMALL)
    assert {label["detail"] for label in store.state(NODE).labels()} == {"more"}
    assert store.state(NODE).manifest["offsets"]["abc"]["residuals"] == [RESIDUAL]
    assert recorded_seed(store.state(NODE)) == 5


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (of_labels({"energy_per_atom": None}), "a label that is admitted must say energy_per_atom;"),
        (of_labels({"structure": None, "kind": "left out"}), "must say structure, kind;"),
        (of_labels({"settings_digest": "left out", "status": "failed"}), "a label that is failed must say settings_digest;"),
        (of_labels({"status": "fine"}), "status: got 'fine', allowed: admitted, rejected, failed"),
        (of_labels({"status": None}), "status: got 'None', allowed: admitted"),
        (of_labels({"forces": [[0.0, 0.0, 0.0]] * 2}), "forces: expected 1 rows of 3 numbers for 1 atoms"),
        (of_labels({"forces": [[0.0]]}), "forces: expected 1 rows"),
        (of_labels({"stress": [[0.0, 0.0], [0.0, 0.0]]}), "stress: expected 3 rows"),
        (of_labels({"energy_per_atom": -1e300}), "energy_per_atom: got -1e.300, allowed: numbers from -1e.09 to 1e.09"),
        (of_labels({"forces": [[0.0, 1e200, 0.0]]}), "forces: got 1e.200, allowed"),
        (of_labels({"stress": [[0.0] * 3, [0.0] * 3, [0.0, 0.0, -1e12]]}), "stress: got -1e.12, allowed"),
        (of_evaluations({"energy_per_atom": -1e300}), "energy_per_atom: got -1e.300, allowed"),
        (of_evaluations({"energies_above_hull": {"a_1": 1e300}}), "energies_above_hull: got 1e.300, allowed"),
        (of_evaluations({"energies_above_hull": {"A 1": 0.1}}), "energies_above_hull: got 'A 1', allowed: names of members"),
        (of_evaluations({"energies_above_hull": {f"a_{n}": 0.1 for n in range(25)}}), "got 25 members of a second opinion"),
        (of_evaluations({"energy_above_hull_std": 1e300}), "energy_above_hull_std: got 1e.300, allowed"),
        (of_evaluations({"electron_excess": 1e300}), "electron_excess: got 1e.300, allowed"),
        (of_evaluations({"energy_above_hull_uncorrected": 1e300}), "energy_above_hull_uncorrected: got 1e.300, allowed"),
        (of_evaluations({"hull_status": "refuted"}), "model_energy_per_atom: an evaluation says it if a label refuted the entry"),
        (of_evaluations({"model_energy_per_atom": -1.0}), "model_energy_per_atom: an evaluation says it if a label refuted"),
        (of_evaluations({"hull_status": "refuted", "model_energy_per_atom": 1e300}), "model_energy_per_atom: got 1e.300"),
        (of_evaluations({"hull_status": "refuted", "model_energy_per_atom": -1.0}), "hull_status: got refuted of a reference"),
        (of_evaluations({"hull_status": "fine"}), "hull_status"),
        (of_offsets({"values": [0.1, 1e300, 0.0]}), "offsets: got 1e.300, allowed"),
        (of_offsets({"residuals": [RESIDUAL | {"value": 1e300}]}), "offsets.residuals: got 1e.300, allowed"),
        (of_offsets({"residuals": [RESIDUAL | {"more": 1}]}), "offsets.abc.residuals.0.more"),
        (of_offsets({"residuals": [RESIDUAL | {"formula": "x" * 201}]}), "offsets.abc.residuals.0.formula"),
        (of_evaluations({"energy_above_hull": None, "is_sun": None}), "must say energy_above_hull, is_sun;"),
        (of_structures({"nsites": 99}), "nsites: got 99, its geometry has "),
        (of_structures({"elements": ["Au"]}), "elements: got ..Au.., its geometry has "),
        (of_structures({"chemsys": "Au"}), "chemsys: got Au, its geometry has "),
        (of_cell([1e300, 0.0, 0.0], [0.0, 1e300, 0.0], [0.0, 0.0, 1e300]), "its geometry: a cell vector of inf Å"),
        (of_cell([5000.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]), "a cell vector of 5000 Å"),
        (of_cell([1e-3, 0.0, 0.0], [0.0, 1e-3, 0.0], [0.0, 0.0, 1e-3]), "atoms in 1e-09 Å³, allowed: 1 Å³ an atom"),
        (of_cell([5.0, 0.0, 0.0], [5.0, 0.0, 0.0], [0.0, 0.0, 5.0]), "the cell vectors lie in a plane"),
        (of_cell([900.0, 0.0, 0.0], [900.0, 0.1, 0.0], [0.0, 0.0, 9.0]), r"its geometry repeats after 0\.1 Å"),
        (of_geometry(lambda g: g["sites"][0].update(abc=[1e300, 0.0, 0.0])), "beyond 1e.06 cells"),
        (
            of_geometry(lambda g: g.update(sites=[{**g["sites"][0], "abc": [i / 1999, 0.0, 0.0]} for i in range(1999)])),
            "1999 atoms",
        ),
        (of_geometry(lambda g: g["lattice"].update(pbc=[True, True, False])), "not periodic in all three"),
        (of_site(element="Xq"), "its geometry holds 'Xq', which is no element"),
        (of_site(element="Na"), "structure .* holds Na, its elements are Li, P, S"),
        (of_site(occu=0.5), "a site that is not one whole atom"),
        (of_site(occu=-3.0), "a site that is not one whole atom"),
        (of_sample(lambda g: g["lattice"].update(matrix=[[1e-3, 0.0, 0.0], [0.0, 1e-3, 0.0], [0.0, 0.0, 1e-3]])), "1 Å³ an atom"),
        (of_offsets([1.0]), "offsets.abc"),
        (of_offsets({"values": ["a", "b", "c"]}), "offsets.abc.values"),
        (of_offsets({"values": [0.1]}), "1 values for 3 elements"),
        (of_offsets({"more": 1}), "offsets.abc.more"),
        (of_seed("x"), "node.branch_seed: got 'x', allowed: an integer from 0 to 4294967295"),
        (of_seed(2**32), "node.branch_seed: got '4294967296'"),
        (of_seed(None), "node.branch_seed: got 'None'"),
        (of_seed(True), "node.branch_seed: got 'True'"),
    ],
)
def test_documents_that_no_job_could_read(good: Path, tmp_path: Path, forge: Callable[[Forgery], None], message: str) -> None:
    forgery = Forgery(good)
    forge(forgery)
    forgery.declare()
    path = forgery.write(tmp_path / "b.zip")
    with pytest.raises(BundleError, match=message):
        import_bundle(embedded(tmp_path / "db"), path, limits=SMALL)
    assert sorted(tmp_path.iterdir()) == [path]


def of_judged(status: str) -> Callable[[Forgery], None]:
    """An entry that a label is said to confirm or refute, and all hashes and the manifest say so too."""

    def forge(forgery: Forgery) -> None:
        rows = forgery.lines("evaluations")
        row = next(row for row in rows if row["kind"] == "entry")
        row |= {"hull_status": status} | ({"model_energy_per_atom": -9.0, "is_sun": False} if status == "refuted" else {})
        forgery.put_lines("evaluations", rows)
        document = forgery.state()
        document["evaluations"]["digest"] = evaluations_digest(rows)
        forgery.put_state(document)
        if status == "refuted":
            forgery.put_manifest(lambda manifest: manifest.update(refuted={row["structure_id"]: row["energy_per_atom"]}))

    return forge


@pytest.mark.parametrize("status", ["confirmed", "refuted"])
@pytest.mark.parametrize("change", [{"family": "another"}, {"kind": "rattled"}, {"settings_digest": "no offsets"}, {}])
def test_an_entry_is_confirmed_or_refuted_by_a_label(good: Path, tmp_path: Path, status: str, change: dict[str, Any]) -> None:
    forgery = Forgery(good)
    of_judged(status)(forgery)
    entry = next(row["structure_id"] for row in forgery.lines("evaluations") if row["kind"] == "entry")
    of_labels({"family": entry} | change)(forgery)
    forgery.declare()
    store, path = embedded(tmp_path / "db"), forgery.write(tmp_path / "b.zip")
    if not change:
        import_bundle(store, path, limits=SMALL)
        assert store.state(NODE).evaluation(entry)["hull_status"] == status
        return
    with pytest.raises(BundleError, match=f"entry {entry} is {status} by its evaluations, and the state has no admitted label"):
        import_bundle(store, path, limits=SMALL)


def of_entries(change: dict[str, Any], relation: str = "") -> Callable[[Forgery], None]:
    """Claims of entries, in a state that was audited by somebody who stands so to what trained its force field."""

    def forge(forgery: Forgery) -> None:
        rows = [row | change if row["kind"] == "entry" else row for row in forgery.lines("evaluations")]
        forgery.put_lines("evaluations", rows)
        document = forgery.state()
        document["evaluations"]["digest"] = evaluations_digest(rows)
        document["metrics"] |= {"audit": {"relation": relation}} if relation else {}
        forgery.put_state(document)

    return forge


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (of_evaluations({"electron_excess": 0.125}), r"evaluation \w{64}: electron_excess: got 0.125, Li\w+ has -?[0-9.]+;"),
        (
            of_entries({"hull_status": "in_doubt", "is_sun": True}),
            "is_sun: got true of an entry that is in doubt, allowed: false",
        ),
        (of_entries({"audit_verdict": "stable"}), "audit_verdict: got stable, and by the metrics of its state nobody looked;"),
        (of_entries({"audit_verdict": "stable"}, "labeller"), "audit_verdict: got stable, .* who looked is labeller; allowed"),
    ],
)
def test_claims_that_cannot_be_so(good: Path, tmp_path: Path, forge: Callable[[Forgery], None], message: str) -> None:
    forgery = Forgery(good)
    forge(forgery)
    forgery.declare()
    with pytest.raises(BundleError, match=message):
        import_bundle(embedded(tmp_path / "db"), forgery.write(tmp_path / "b.zip"), limits=SMALL)


def test_claims_that_follow_import(good: Path, tmp_path: Path) -> None:
    forgery = Forgery(good)
    of_entries({"audit_verdict": "stable", "hull_status": "unconfirmed", "is_sun": True}, "independent")(forgery)
    forgery.declare()
    store = embedded(tmp_path / "db")
    import_bundle(store, forgery.write(tmp_path / "b.zip"), limits=SMALL)
    assert {row["audit_verdict"] for row in store.state(NODE).entries()} == {"stable"}


def test_a_refuted_entry_that_is_sun_is_refused() -> None:
    claim = untrue_claim({"formula": "Li2S", "hull_status": "refuted", "is_sun": True}, {})
    assert claim == "is_sun: got true of an entry that is refuted, allowed: false"
    # (7 * 1 - 3 * 2) / 10, and of an intermetallic compound nothing
    assert untrue_claim({"formula": "Li7S3", "electron_excess": 0.1}, {}) == ""
    assert untrue_claim({"formula": "Li2Mg", "electron_excess": 0.0}, {}) == ""
    assert untrue_claim({"formula": "Li7S3"}, {}) == ""
    assert "Li7S3 has 0.1" in untrue_claim({"formula": "Li7S3", "electron_excess": -0.1}, {})


def test_a_stored_state_whose_seed_is_none(tmp_path: Path) -> None:
    store = embedded(tmp_path / "db")
    new_lineage(store).commit()
    view = store.state(NODE)
    view.document["config"]["node"]["branch_seed"] = "x"
    with pytest.raises(ConfigError, match=r"configuration of .*: node.branch_seed: got 'x'"):
        recorded_seed(view)
