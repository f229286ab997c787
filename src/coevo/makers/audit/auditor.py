"""Who audits: what a state records of its auditor, whether that one took part in training, and what it has said before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coevo.configs.audit_section import section_of
from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import ConfigError
from coevo.families import descriptor_of
from coevo.labelling.imported.functionals import base_of
from coevo.makers.committee.members import COMPUTED, published, training_of, training_of_published
from coevo.makers.committee.teachers import training_of_teacher
from coevo.node_store.bundles.documents import LARGEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from coevo.configs.audit_section import AuditConfig
    from coevo.configs.tree import ForceFieldConfig, LabellingConfig, NodeConfig
    from coevo.makers.committee.teachers import Teachers
    from coevo.makers.outputs import Checkpoint
    from coevo.makers.step import Document, Record
    from coevo.node_store.views import StateView

RELATIONS = ("independent", "labeller", "related")
"""Of an auditor to the state: it took no part; it is who labels; it is not known that it took no part."""


def check_auditor(config: NodeConfig) -> None:
    """Make sure that the auditor that a configuration wants can be asked on this machine.

    Raises
    ------
    ConfigError
        Its family has an environment of its own, and there is none here.
    LabellingError
        The code, a potential or a package is missing.
    """
    from coevo.makers.labels.settings import labeller_for
    from coevo.models.external.environment import environment_of

    audit = config.audit
    if audit.first_principles:
        labeller_for(section_of(config.labelling, audit), elements=config.node.elements).settings()
    if audit.auditor == "force_field" or (audit.first_principles and audit.force_field_first):
        family = descriptor_of(audit.force_field.family, "force_field")
        if family.environment is not None:
            try:
                environment_of(family.environment)
            except ConfigError as err:
                raise ConfigError(f"audit.force_field: {family.name} cannot be asked here: {err}") from None


def published_auditor(audit: AuditConfig) -> Checkpoint:
    """Write the published weights of the auditor as an artifact and return their checkpoint."""
    return published(OtherForceField(audit.force_field.family, audit.force_field.weights))


def identity_of_force_field(audit: AuditConfig, checkpoint: Checkpoint, relaxed: dict[str, Any]) -> Document:
    """What a state records of a force field as its auditor.

    Parameters
    ----------
    audit : AuditConfig
    checkpoint : dict
    relaxed : dict
        How it relaxes; the size of batches is no part of it.
    """
    return {
        "kind": "force_field",
        "name": f"{audit.force_field.family}/{audit.force_field.weights}",
        "functional": audit.force_field.told.functional,
        "digest": checkpoint["sha256"],
        "relaxed": {key: value for key, value in relaxed.items() if key != "batch_size"},
    }


def identity_of_code(audit: AuditConfig, functional: str, digest: str, relaxed: Document | None = None) -> Document:
    """What a state records of a first-principles code as its auditor; ``digest`` is that of its settings.

    ``relaxed`` is how it relaxes (``steps``, ``fmax`` and, of a force field from whose minima it starts, ``first``); None: it
    does not.
    """
    return {"kind": "first_principles", "name": audit.auditor, "functional": functional, "digest": digest, "relaxed": relaxed}


def relation_of(
    audit: AuditConfig,
    checkpoint: Checkpoint,
    force_field: ForceFieldConfig,
    labelling: LabellingConfig,
    sources: Collection[tuple[str, str, str]],
    teachers: Teachers,
    functional: str = "",
) -> tuple[str, str]:
    """Whether an auditor took part in what made a state, and what it has in common with its force field all the same.

    Parameters
    ----------
    audit : AuditConfig
    checkpoint : dict
        Of the state's force field.
    force_field : ForceFieldConfig
        What it was published as.
    labelling : LabellingConfig
    sources : collection of (code, functional, digest)
        Of the state's labels.
    teachers : mapping of (functional, digest) to OtherForceField or None
        Who made those of teachers.
    functional : str
        Of a first-principles auditor.

    Returns
    -------
    relation : str
        One of :data:`RELATIONS`.
    shared : str
        Data sets joined by ``+`` that an independent force field was trained on as the state's force field was, or its teachers,
        in another functional.
    """
    if audit.first_principles:
        return _relation_of_code(audit.auditor, functional, sources), ""
    asked = OtherForceField(audit.force_field.family, audit.force_field.weights)
    if audit.is_labeller(labelling) or asked in teachers.values():
        return "labeller", ""
    mine, taught = training_of_published(asked), [training_of_teacher(teacher) for teacher in teachers.values()]
    voices = [training_of(checkpoint, None, force_field, labelling, sources, taught), *taught]
    if not all(mine.is_independent_of(each) for each in voices):
        return "related", ""
    own = training_of_published(OtherForceField(force_field.family, force_field.weights))
    shared = frozenset[str]().union(*(mine.data_in_common(each) for each in (own, *voices)))
    return "independent", "+".join(sorted(shared))


def _relation_of_code(code: str, functional: str, sources: Collection[tuple[str, str, str]]) -> str:
    """Of a first-principles code: labels of a file, a Maker or another package may be its own, unless of another functional."""
    if code in {labeller for labeller, _, _ in sources}:
        return "labeller"
    own = base_of(functional)
    named = {base_of(other) for labeller, other, _ in sources if labeller not in {*COMPUTED, "teacher"}}
    return "independent" if all(own and other and own != other for other in named) else "related"


FIELDS = ("id", "energy_per_atom", "is_bound", "reason")
"""Of a record of what an auditor said of a structure; beside these only ``formula`` and ``again`` are read of it."""

ATTEMPTS = 3
"""How often a structure is asked about of which the auditor failed to say anything, for a reason that may pass."""


def earlier_records(views: Sequence[StateView], auditor: Document, elements: Collection[str]) -> dict[str, Record]:
    """What the same auditor, asked in the same way, said in states and those that they descend from, by id of the structure.

    Nothing else is taken of the records, which may be somebody else's. Those with ``again`` have no energy for a reason that may
    pass, and were asked about less than :data:`ATTEMPTS` times.

    Parameters
    ----------
    views : sequence of StateView
    auditor : dict
        As a state records it.
    elements : collection of str
        Of the node; a formula with others is left out.
    """
    found: dict[str, list[Record]] = {}
    seen: set[str] = set()
    for state in (each for view in views for each in (view, *view.ancestors())):
        told = state.document["metrics"].get("audit")
        if state.id not in seen and isinstance(told, dict) and _asked(told.get("auditor")) == _asked(auditor):
            records = told.get("records")
            for record in _plain(records if isinstance(records, list) else [], frozenset(elements)):
                found.setdefault(record["id"], []).append(record)
        seen.add(state.id)
    return {identifier: _best(records) for identifier, records in found.items()}


def _asked(auditor: Any) -> Any:
    """Who was asked and how, without the size of batches, which a machine's memory decides."""
    if not isinstance(auditor, dict) or not isinstance(auditor.get("relaxed"), dict):
        return auditor
    return {**auditor, "relaxed": {key: value for key, value in auditor["relaxed"].items() if key != "batch_size"}}


def _best(records: Sequence[Record]) -> Record:
    """The newest record with an energy, else the newest."""
    best = next((record for record in records if record["energy_per_atom"] is not None), records[0])
    return {k: v for k, v in best.items() if k != "again" or len(records) < ATTEMPTS}


def _plain(records: list[Any], elements: frozenset[str]) -> Iterator[Record]:
    for record in records:
        if not isinstance(record, dict):
            continue
        identifier, energy, is_bound, reason = (record.get(name) for name in FIELDS)
        a_number = isinstance(energy, int | float) and not isinstance(energy, bool)
        sound = energy is None or (a_number and math.isfinite(energy) and abs(energy) <= LARGEST)
        if isinstance(identifier, str) and len(identifier) <= 100 and isinstance(is_bound, bool) and sound:
            reason = reason[:60] if isinstance(reason, str) else ""
            found: Record = {"id": identifier, "energy_per_atom": energy, "is_bound": is_bound, "reason": reason}
            if _is_formula(record.get("formula"), elements):
                found["formula"] = record["formula"]
            yield found | ({"again": True} if energy is None and record.get("again") is True else {})


def _is_formula(formula: Any, elements: frozenset[str]) -> bool:
    """Whether a text is the formula of a substance of these elements."""
    from pymatgen.core import Composition

    if not isinstance(formula, str) or not 0 < len(formula) <= 100:
        return False
    try:
        amounts = Composition(formula).get_el_amt_dict()
    except (ValueError, ArithmeticError, LookupError):
        return False
    return bool(amounts) and set(amounts) <= elements and all(0 < amount <= 1e6 for amount in amounts.values())
