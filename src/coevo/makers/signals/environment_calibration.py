"""The resolution of a node's environments: measured by its force field on its references, and read from what a state records."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.configs.tree import NodeSection
    from coevo.models.contracts import ForceField

Document = dict[str, Any]

CALIBRATION = "environment_calibration"
"""The metric of a state."""


def calibrated(records: Sequence[Document], node: NodeSection, force_field: ForceField, sha256: str) -> Document:
    """Let references vibrate, and find how far their environments wander.

    Parameters
    ----------
    records : sequence of dict
        ``id`` and ``structure`` of each reference, in the order of ids.
    node : NodeSection
    force_field : ForceField
    sha256 : str
        Of its checkpoint.

    Returns
    -------
    dict
        ``delta``, ``delta90`` (1/Å; None where no reference could be shaken, with the ``reason``) and ``per_species``
        (:func:`coevo.analysis.environments.resolution.resolution`); ``crystals``, what each reference gave, and ``left_out``,
        with reasons; ``temperature`` (K), ``timestep`` and ``apart`` (fs), ``snapshots``; ``elements``; ``force_field``;
        ``quests``, bandwidths that QUESTS would take (1/Å); and ``told_apart``
        (:func:`coevo.analysis.environments.told_apart.told_apart`).
    """
    from coevo.analysis.environments import resolution
    from coevo.analysis.environments.told_apart import motif_classes, told_apart
    from coevo.models.contracts import Failure
    from coevo.models.dynamics import snapshots
    from coevo.node_store.canonical import structure_from_document

    elements, k, cutoff = node.elements, node.descriptor.neighbours, node.descriptor.cutoff
    structures = [structure_from_document(record["structure"]) for record in records]
    cells = [resolution.doubled(structure) for structure in structures]
    places = resolution.chosen(cells, elements)
    timestep = resolution.timestep_of(elements)
    keep = resolution.kept_steps(timestep)
    with task("shaking references", keep[-1], "steps") as advance:
        found = snapshots(
            force_field,
            [cell for place in places if (cell := cells[place]) is not None],
            temperature=resolution.TEMPERATURE,
            timestep=timestep,
            keep=keep,
            seeds=[seed_for(node, 0, "calibrate-environments", place) for place in places],
            progress=advance,
        )
    shaken, crystals, left_out = [], [], []
    for place, geometries in zip(places, found, strict=True):
        row = {"id": records[place]["id"], "formula": structures[place].composition.reduced_formula}
        if isinstance(geometries, Failure):
            left_out.append({**row, "reason": f"{geometries.reason}: {geometries.detail}"})
            continue
        shaken.append(resolution.wandering(geometries, elements, k, cutoff))
        one = resolution.resolution(shaken[-1:], elements)
        crystals.append({**row, "atoms": len(geometries[0]), "delta": one["delta"], "delta90": one["delta90"]})
    held = {site.specie.symbol for place in places for site in structures[place]}
    volume = sum(s.volume for s in structures) / max(1, sum(len(s) for s in structures))
    document: Document = {
        "delta": None,
        "delta90": None,
        "per_species": {},
        "reason": "",
        "crystals": crystals,
        "left_out": left_out,
        "elements": list(elements),
        "not_held": [symbol for symbol in elements if symbol not in held],
        "temperature": resolution.TEMPERATURE,
        "timestep": timestep,
        "apart": resolution.APART,
        "snapshots": resolution.SNAPSHOTS,
        "force_field": sha256,
        "quests": {"bandwidth": resolution.QUESTS_BANDWIDTH, "of_volume": resolution.quests_bandwidth(volume)},
        "told_apart": None,
    }
    if not shaken:
        why = "; ".join(f"{row['formula']} {row['reason']}" for row in left_out)
        none = f"no reference has at most {resolution.MOST_ATOMS} atoms in a cell that is wide enough"
        return document | {"reason": f"no reference could be shaken: {why or none}"}
    document |= resolution.resolution(shaken, elements)
    return document | {"told_apart": told_apart(motif_classes(structures, elements, k, cutoff), document["delta"])}


_FIELDS = (
    "delta",
    "delta90",
    "per_species",
    "reason",
    "crystals",
    "left_out",
    "elements",
    "not_held",
    "temperature",
    "timestep",
    "apart",
    "snapshots",
    "force_field",
    "quests",
    "told_apart",
)


def known_calibration(metrics: Mapping[str, Any], elements: Sequence[str]) -> Document | None:
    """Return the calibration that a state records, if it can be gone on with.

    Parameters
    ----------
    metrics : mapping
        Of a state, which may be a stranger's: known fields only are handed on.
    elements : sequence of str
        Of the node; with further elements the descriptor is another, and distances of it do not compare.
    """
    found = metrics.get(CALIBRATION)
    if not isinstance(found, dict) or found.get("elements") != list(elements):
        return None
    if not all(_is_length(found.get(name)) for name in ("delta", "delta90")) or not isinstance(found.get("force_field"), str):
        return None
    known = {name: found[name] for name in _FIELDS if name in found}
    return known if set(known) == set(_FIELDS) and _is_told_apart(known["told_apart"]) else None


def _is_told_apart(value: Any) -> bool:
    """Whether it has what the signal puts into words."""
    rows = value.get("mixed") if isinstance(value, dict) else None
    return isinstance(rows, list) and all(
        isinstance(row, dict)
        and isinstance(row.get("element"), str)
        and isinstance(row.get("motifs"), list)
        and all(isinstance(name, str) for name in row["motifs"])
        and isinstance(row.get("mean_kernel"), float)
        for row in rows
    )


def _is_length(value: Any) -> bool:
    return isinstance(value, float) and isfinite(value) and value > 0
