"""Who audits: what a state records of its auditor, whether that one took part in training, and what it has said before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from coevo.configs.audit_section import section_of
from coevo.configs.uncertainty_section import OtherForceField
from coevo.errors import ConfigError
from coevo.families import descriptor_of
from coevo.makers.committee.members import published, training_of, training_of_published
from coevo.node_store.bundles.documents import LARGEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from coevo.configs.audit_section import AuditConfig
    from coevo.configs.tree import ForceFieldConfig, LabellingConfig, NodeConfig, NodeSection
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
    elif audit.in_use:
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
        How it relaxes.
    """
    return {
        "kind": "force_field",
        "name": f"{audit.force_field.family}/{audit.force_field.weights}",
        "functional": audit.force_field.told.functional,
        "digest": checkpoint["sha256"],
        "relaxed": relaxed,
    }


def identity_of_code(audit: AuditConfig, functional: str, digest: str) -> Document:
    """What a state records of a first-principles code as its auditor; ``digest`` is that of its settings."""
    return {"kind": "first_principles", "name": audit.auditor, "functional": functional, "digest": digest, "relaxed": None}


def relation_of(
    audit: AuditConfig,
    checkpoint: Checkpoint,
    force_field: ForceFieldConfig,
    labelling: LabellingConfig,
    sources: Collection[tuple[str, str, str]],
) -> str:
    """Whether an auditor took part in what made a state: one of :data:`RELATIONS`.

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
    """
    codes = {code for code, _, _ in sources}
    if audit.first_principles:
        return "labeller" if audit.auditor in codes else "independent"
    if audit.is_labeller(labelling):
        return "labeller"
    asked = training_of_published(OtherForceField(audit.force_field.family, audit.force_field.weights))
    voices = [
        training_of(checkpoint, None, force_field, labelling, sources),
        *([training_of_published(_teacher(labelling))] if "teacher" in codes else []),
    ]
    return "independent" if all(asked.is_independent_of(each) for each in voices) else "related"


def _teacher(labelling: LabellingConfig) -> OtherForceField:
    return OtherForceField(labelling.teacher.family, labelling.teacher.weights)


FIELDS = ("id", "energy_per_atom", "is_bound", "reason")
"""Of a record of what an auditor said of a structure; more is not read of it."""


def earlier_records(view: StateView, auditor: Document) -> dict[str, Record]:
    """What the same auditor, asked in the same way, said in a state and those that it continues, by id of the structure.

    Nothing else is taken of the records, which may be somebody else's.
    """
    found: dict[str, Record] = {}
    for state in (view, *view.first_parents()):
        told = state.document["metrics"].get("audit")
        if isinstance(told, dict) and told.get("auditor") == auditor and isinstance(told.get("records"), list):
            for record in _plain(told["records"]):
                found.setdefault(record["id"], record)
    return found


def _plain(records: list[Any]) -> Iterator[Record]:
    for record in records:
        if not isinstance(record, dict):
            continue
        identifier, energy, is_bound, reason = (record.get(name) for name in FIELDS)
        a_number = isinstance(energy, int | float) and not isinstance(energy, bool)
        sound = energy is None or (a_number and math.isfinite(energy) and abs(energy) <= LARGEST)
        if isinstance(identifier, str) and len(identifier) <= 100 and isinstance(is_bound, bool) and sound:
            reason = reason[:60] if isinstance(reason, str) else ""
            yield {"id": identifier, "energy_per_atom": energy, "is_bound": is_bound, "reason": reason}


def sources_in(node: NodeSection, parents: Collection[str], labels: Any) -> set[tuple[str, str, str]]:
    """Codes, functionals and settings of the labels of a state: those of its parents and new ones."""
    from coevo.makers.committee.members import sources_of
    from coevo.makers.populations.population import open_state
    from coevo.makers.step import current_store, read_records

    store = current_store()
    found = sources_of(read_records(store, labels or []))
    return found.union(*(sources_of(open_state(store, node.name, parent).labels()) for parent in parents))
