"""The resolution of a node's environments: measured by its force field on its references, and read from what a state records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from coevo.node_store.seeds import seed_for
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.configs.tree import NodeSection
    from coevo.models.contracts import ForceField

Document = dict[str, Any]

CALIBRATION = "environment_calibration"
"""The metric of a state."""
MOST_DISTANCE = 1.0
"""1/Å. Sites wander by 0.1; at a δ90 beyond this hardly an atom would be far from another, and anything would be flat."""

_Number = Annotated[float, Field(allow_inf_nan=False)]


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


def known_calibration(metrics: Mapping[str, Any], elements: Sequence[str]) -> Document | None:
    """Return the calibration that a state records, if it can be gone on with.

    Parameters
    ----------
    metrics : mapping
        Of a state, which may be a stranger's: known fields of the right type only are handed on, with 0 < δ ≤ δ90 ≤
        :data:`MOST_DISTANCE`. Whatever is otherwise is no calibration, and the node makes one of its own.
    elements : sequence of str
        Of the node; with further elements the descriptor is another, and distances of it do not compare.
    """
    found = recorded_calibration(metrics)
    if found is None or found["delta"] is None or found["elements"] != list(elements):
        return None
    return {name: value for name, value in found.items() if name != "merged"}


def recorded_calibration(metrics: Mapping[str, Any]) -> Document | None:
    """Return what a state records as its calibration, one without δ included; None if it is not what :func:`calibrated` gives."""
    try:
        found: Document = _RECORDED.validate_python(metrics.get(CALIBRATION), strict=True)
    except ValidationError:
        return None
    delta, delta90 = found["delta"], found["delta90"]
    if delta is None or delta90 is None:
        return found if delta is delta90 else None
    return found if 0.0 < delta <= delta90 <= MOST_DISTANCE and found["told_apart"] is not None else None


class _Distances(TypedDict):
    delta: _Number
    delta90: _Number


class _Crystal(_Distances):
    id: str
    formula: str
    atoms: int


class _LeftOut(TypedDict):
    id: str
    formula: str
    reason: str


class _Bandwidths(TypedDict):
    bandwidth: _Number
    of_volume: _Number


class _Mixed(TypedDict):
    element: str
    motifs: list[str]
    mean_kernel: _Number


class _ToldApart(TypedDict):
    classes: int
    pairs: int
    left_out: int
    largest: _Number | None
    mixed: list[_Mixed]


class _OfParent(_Distances):
    force_field: str


class _Calibration(TypedDict):
    """What :func:`calibrated` gives, and what a merge adds."""

    delta: _Number | None
    delta90: _Number | None
    per_species: dict[str, _Distances | None]
    reason: str
    crystals: list[_Crystal]
    left_out: list[_LeftOut]
    elements: list[str]
    not_held: list[str]
    temperature: _Number
    timestep: _Number
    apart: _Number
    snapshots: int
    force_field: str
    quests: _Bandwidths
    told_apart: _ToldApart | None
    merged: NotRequired[list[_OfParent | None]]


_RECORDED: TypeAdapter[Any] = TypeAdapter(_Calibration)
