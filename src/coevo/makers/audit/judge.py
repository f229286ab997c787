"""Judge: the auditor's hull, its verdicts, and what they say of the strata."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.analysis.audit.draw import STRATA
from coevo.analysis.audit.estimates import Audited as Look
from coevo.analysis.audit.estimates import Stratum, estimates, share
from coevo.configs.audit_section import AuditConfig
from coevo.configs.tree import CurationConfig, ForceFieldConfig, LabellingConfig, NodeSection
from coevo.makers.audit.auditor import relation_of
from coevo.makers.audit.auditor_hull import AuditorHull
from coevo.makers.audit.strata import said_in
from coevo.makers.committee.teachers import sources_in
from coevo.makers.step import StepMaker, current_store, read_records, step, write_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.makers.outputs import Assessed, Audited, Checkpoint
    from coevo.makers.step import Document, Record, ShardReference


@dataclass
class JudgeAuditMaker(StepMaker):
    """Say what the auditor says of a state.

    Attributes
    ----------
    node : NodeSection
    curation : CurationConfig
    audit : AuditConfig
    labelling : LabellingConfig
    force_field : ForceFieldConfig
        What the node's own force field was published as.
    """

    name: str = "judge-audit"
    node: NodeSection = field(kw_only=True)
    curation: CurationConfig = field(default_factory=CurationConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    force_field: ForceFieldConfig = field(default_factory=ForceFieldConfig)

    packages: ClassVar[tuple[str, ...]] = ("numpy", "scipy", "pymatgen-core")

    @step
    def make(
        self,
        assessed: Assessed,
        audited: Audited,
        checkpoint: Checkpoint,
        parents: list[str],
        labels: ShardReference | None = None,
    ) -> Assessed:
        """Judge.

        Parameters
        ----------
        assessed : dict
            Output of the job before.
        audited : dict
            Output of the audit job.
        checkpoint : dict
            Of the state's force field.
        parents : list of str
            Ids of the parent states, which have labels.
        labels : dict or None
            Shard reference of labels that are new in the state.

        Returns
        -------
        dict
            As ``assessed``, with ``audit``. Evaluations hold ``audit_verdict`` and ``energy_above_hull_audit`` of what was looked
            at, if the auditor took no part in training.
        """
        store = current_store()
        documents = list(read_records(store, assessed["evaluations"]))
        drawn = {row["id"]: row for row in read_records(store, audited["drawn"])}
        new = _said(audited["packets"])
        earlier = {row["id"]: row for row in read_records(store, audited["earlier"])}
        asked = _said(audited["references"])
        # another attempt of a reference that failed was the job of a state, and is not asked for each time
        failed = {i: row for i, row in asked.items() if row.get("again") and i not in earlier}
        new = {**failed, **new}
        said = {**earlier, **new}
        references = {i: said.get(i, row) if row["energy_per_atom"] is None else row for i, row in asked.items()}
        present = {d["structure_id"]: d["formula"] for d in documents} | {i: row["formula"] for i, row in drawn.items()}
        formulas = {i: row["formula"] for i, row in said.items() if row.get("formula")} | present
        is_code = audited["auditor"]["kind"] == "first_principles"
        looked = AuditorHull.of(self.node.elements, formulas, references, said, relaxes=bool(audited["auditor"]["relaxed"]))
        above, verdicts = looked.judged([i for i in said if i in present], self.curation.stable_threshold)
        sources, teachers = sources_in(self.node, parents, labels, self.labelling)
        functional = str(audited["auditor"]["functional"]) if is_code else ""
        relation, shared = relation_of(self.audit, checkpoint, self.force_field, self.labelling, sources, teachers, functional)
        answered = [row for row in references.values() if row["energy_per_atom"] is not None]
        found: Document = {
            "auditor": audited["auditor"],
            "relation": relation,
            "shared_data": shared,
            "reason": looked.reason or ("" if drawn else "there was nothing to look at"),
            "records": [
                {**row, **({"formula": formulas[i]} if i in formulas else {}), "iteration": audited["iteration"]}
                for i, row in sorted(new.items())
            ],
            "failed": dict(sorted(Counter(said[i]["reason"] for i in drawn if i in said and said[i]["reason"]).items())),
            "new": len(new),
            "references": {
                "asked": len(references),
                "answered": len(answered),
                "not_relaxed": sum(row["is_bound"] for row in answered),
            },
        }
        if not found["reason"]:
            found |= estimates_of(drawn, audited["populations"], verdicts, above, said)
        if relation == "independent":
            documents = with_verdicts(documents, verdicts, above)
        return {**assessed, "evaluations": write_records(store, documents), "audit": found}


def _said(outputs: Sequence[Mapping[str, Any]]) -> dict[str, Record]:
    """What the auditor's jobs say, by id."""
    shards: list[Any] = [output.get("audited") or output["labels"] for output in outputs]
    return {row["id"]: row for row in said_in(read_records(current_store(), shards))}


def estimates_of(
    drawn: Mapping[str, Mapping[str, Any]],
    populations: Mapping[str, int],
    verdicts: Mapping[str, str],
    above: Mapping[str, float],
    said: Mapping[str, Mapping[str, Any]],
) -> Document:
    """Estimates from the samples, and apart the precision of S.U.N. entries with an electron excess, where that is known."""
    looks = {
        i: Look(
            verdicts[i],
            row["energy_above_hull"],
            None if said[i]["is_bound"] or verdicts[i] == "undecided" else above.get(i),
        )
        for i, row in drawn.items()
    }
    strata = {
        name: Stratum(populations[name], [looks[i] for i, row in drawn.items() if row["stratum"] == name]) for name in STRATA
    }
    found: Document = estimates(strata)
    apart = [i for i, row in drawn.items() if row["stratum"] == "sun" and (row.get("electron_excess") or 0.0) > 0.0]
    if apart:
        # a part of the sample: what is known is its share, and not how many of the population there are
        found["electron_excess"] = share([Stratum(len(apart), [looks[i] for i in apart])], "stable")
    return found


def with_verdicts(documents: Sequence[Record], verdicts: Mapping[str, str], above: Mapping[str, float]) -> list[Record]:
    """Evaluations with what the auditor says of those that it looked at."""
    return [
        {**d, "audit_verdict": verdicts[i], "energy_above_hull_audit": above.get(i)}
        if d["kind"] == "entry" and (i := d["structure_id"]) in verdicts
        else d
        for d in documents
    ]
