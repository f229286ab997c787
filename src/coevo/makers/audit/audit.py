"""Audit: the structures of the strata that are looked at, and the auditor's energies of them and of the references."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from jobflow import Flow, Response, job

from coevo.configs.audit_section import AuditConfig, section_of
from coevo.configs.tree import CurationConfig, LabellingConfig, NodeSection, ScreeningConfig
from coevo.makers.audit.auditor import earlier_records, identity_of_code, identity_of_force_field, published_auditor
from coevo.makers.audit.code_relaxation import CodeRelaxationMaker
from coevo.makers.checkpoints import load_force_field
from coevo.makers.label import LabelPacketMaker
from coevo.makers.screen import family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family, workers_of_family, write_records
from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.labelling.contract import LabelSettings
    from coevo.makers.outputs import Assessed, Audited, AuditPacket, Checkpoint, Curated
    from coevo.makers.step import Document, Record, ShardReference
    from coevo.node_store.views import StateView


@dataclass
class AuditPacketMaker(StepMaker):
    """Relax structures by a force field as the auditor, from the geometries that they have in the state.

    Attributes
    ----------
    screening : ScreeningConfig
        How: ``fmax``, ``max_steps``, ``optimiser`` and ``batch_size``, the rest at its defaults.
    """

    name: str = "audit"
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, ""))

    def workers_beside_others(self, inputs: Mapping[str, Any]) -> int:
        """Worker processes, where they do all the work of the family."""
        return workers_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(self, structures: ShardReference, checkpoint: Checkpoint) -> AuditPacket:
        """Relax.

        A structure that does not converge gets the energy of its first geometry, which is an upper bound of that of the phase.

        Parameters
        ----------
        structures : dict
            Shard reference of ``{id, structure}``.
        checkpoint : dict
            Of the auditor.

        Returns
        -------
        dict
            ``audited`` (shard reference of ``{id, energy_per_atom, is_bound, reason}``; eV/atom on the auditor's own scale, None
            where it failed).
        """
        from coevo.makers.screen import relaxation_settings
        from coevo.models.contracts import Failure, Prediction
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        records = list(read_records(store, structures))
        force_field = load_force_field(store, checkpoint)
        crystals = [structure_from_document(record["structure"]) for record in records]
        with task("auditing", len(crystals), "structures") as advance:
            found = force_field.relax(
                crystals, relaxation_settings(self.screening), workers=self.usable_workers(), progress=advance
            )
        rows: list[Record] = []
        unfinished: list[int] = []
        for number, (record, result) in enumerate(zip(records, found, strict=True)):
            if isinstance(result, Failure):
                rows.append({"id": record["id"], "energy_per_atom": None, "is_bound": False, "reason": result.reason})
                if result.reason == "not_converged":
                    unfinished.append(number)
            else:
                energy = result.prediction.energy
                rows.append({"id": record["id"], "energy_per_atom": energy, "is_bound": False, "reason": ""})
        points = force_field.evaluate([crystals[i] for i in unfinished], workers=self.usable_workers()) if unfinished else []
        for number, point in zip(unfinished, points, strict=True):
            if isinstance(point, Prediction):
                rows[number] |= {"energy_per_atom": point.energy, "is_bound": True}
        return {"audited": write_records(store, rows)}


@dataclass
class AuditMaker(StepMaker):
    """Draw what is audited of an iteration and cut it into packets, one job each.

    The model's verdicts alone make the strata (:mod:`coevo.analysis.audit.draw`), after the re-evaluation: what the auditor says
    of a state has not trained its force field. References are packets of their own, as they were published, so that the auditor
    computes them once for all states.

    Attributes
    ----------
    node : NodeSection
    curation : CurationConfig
    audit : AuditConfig
    labelling : LabellingConfig
        With the sections of first-principles codes.
    screening : ScreeningConfig
        How structures are relaxed, but for the number of steps.
    shard_size : int
        Structures per job of a force field.
    """

    name: str = "audit"
    node: NodeSection = field(kw_only=True)
    curation: CurationConfig = field(default_factory=CurationConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)
    screening: ScreeningConfig = field(default_factory=ScreeningConfig)
    shard_size: int = 500

    @job
    def make(
        self,
        assessed: Assessed,
        shards: list[ShardReference],
        curated: Curated | None,
        parents: list[str],
        iteration: int,
        references: ShardReference | None = None,
        *,
        anew: bool = True,
    ) -> Response[Audited]:
        """Fan out; the output is :class:`~coevo.makers.outputs.Audited`.

        Parameters
        ----------
        assessed : dict
            Output of the assess job, or of that of a second opinion.
        shards : list of dict
            Shard references of evaluated records, with the geometries.
        curated : dict or None
            Output of the curate job, with what this iteration rejected; None where nothing was generated.
        parents : list of str
            Ids of the parent states.
        iteration : int
        references : dict or None
            Shard reference of reference documents that no parent has.
        anew : bool
            Whether structures are looked at that nobody looked at before; otherwise references alone.
        """
        from coevo.analysis.audit.draw import STRATA, draw, order_of
        from coevo.makers.audit.strata import candidates_of_strata
        from coevo.makers.populations.population import open_state

        store, seed = current_store(), self.node.seed
        views = [open_state(store, self.node.name, parent) for parent in parents]
        packets, auditor = self._of_force_field() if self.audit.auditor == "force_field" else self._of_code()
        found = candidates_of_strata(
            read_records(store, assessed["evaluations"]),
            read_records(store, shards),
            read_records(store, curated["screened"]) if curated else [],
            self.curation,
        )
        known = earlier_records(views, auditor, self.node.elements)
        strata = {name: [i for i, row in found.items() if row["stratum"] == name] for name in STRATA}
        budget = self.audit.structures if anew else 0
        failed = [i for i, record in known.items() if record.get("again")]
        # at most half of the looks, so that what fails each time does not hold up the others
        again = order_of([i for i in failed if i in found], seed)[: (budget + 1) // 2]
        samples, new = draw(strata, known, budget - len(again), seed)
        kept = {i for sample in samples.values() for i in sample}
        drawn = [{k: v for k, v in found[i].items() if k != "structure"} | {"id": i} for i in sorted(kept)]
        known_references = _references(views, references) if kept else {}
        jobs = packets.jobs([_record(i, row, "reference") for i, row in known_references.items()], 0, known=True)
        count = len(jobs)
        jobs += packets.jobs([_record(i, found[i]["structure"], "audit") for i in new], count)
        # another attempt is other work, and one that is resumed is the same one
        after = {"after": "+".join(sorted(parents))}
        repeated = [{**_record(i, found[i]["structure"], "audit"), **after} for i in again]
        references_again = [i for i in sorted(failed) if i in known_references]
        repeated_references = [{**_record(i, known_references[i], "reference"), **after} for i in references_again]
        if self.audit.code_steps:
            jobs += packets.jobs(repeated, len(jobs))
            jobs += packets.jobs(repeated_references, len(jobs), known=True)
        else:  # together, as ever: their packets have keys by which they are found
            jobs += packets.jobs([*repeated, *repeated_references], len(jobs))
        output = {
            "auditor": auditor,
            "drawn": write_records(store, drawn),
            "populations": {name: len(strata[name]) for name in STRATA},
            "earlier": write_records(store, [known[i] for i in sorted(known)]),
            "new": [*new, *again],
            "iteration": iteration,
            "references": [each.output for each in jobs[:count]],
            "packets": [each.output for each in jobs[count:]],
        }
        if not jobs:
            return Response(output=cast("Audited", output))
        return Response(replace=Flow(jobs, output=output, name=self.name))

    def _of_force_field(self) -> tuple[_Packets, Document]:
        checkpoint = published_auditor(self.audit)
        chosen = self._chosen()
        screening = ScreeningConfig(**chosen)

        def cut(name: str, shard: ShardReference, _: bool) -> Any:
            return AuditPacketMaker(name, self.workers, screening).make(shard, checkpoint)

        return _Packets(self.name, self.shard_size, cut), identity_of_force_field(self.audit, checkpoint, chosen)

    def _of_code(self) -> tuple[_Packets, Document]:
        """Single points, or relaxations of a few steps."""
        from coevo.labelling.digest import settings_digest
        from coevo.makers.labels.settings import labeller_for

        labelling = section_of(self.labelling, self.audit)
        settings: LabelSettings = labeller_for(labelling, elements=self.node.elements).settings()
        digest = settings_digest(settings)

        def cut(name: str, shard: ShardReference, _: bool) -> Any:
            return LabelPacketMaker(
                name, self.workers, labelling=labelling, elements=self.node.elements, settings_digest=digest
            ).make(shard)

        if not self.audit.code_steps:
            return _Packets(self.name, labelling.frames_per_job, cut), identity_of_code(self.audit, settings.functional, digest)
        first, screening = self._first_force_field()

        def relaxed(name: str, shard: ShardReference, known: bool) -> Any:
            maker = CodeRelaxationMaker(
                name,
                self.workers,
                labelling=labelling,
                elements=tuple(self.node.elements),
                settings_digest=digest,
                steps=self.audit.code_steps,
                screening=screening,
            )
            # a reference lies where others have relaxed it
            return maker.make(shard) if known or first is None else maker.make(shard, first)

        how: Document = {"steps": self.audit.code_steps, "fmax": screening.fmax}
        if first is not None:
            how |= {"first": identity_of_force_field(self.audit, first, self._chosen())}
        identity = identity_of_code(self.audit, settings.functional, digest, how)
        return _Packets(self.name, labelling.frames_per_job, relaxed), identity

    def _first_force_field(self) -> tuple[Checkpoint | None, ScreeningConfig]:
        """The force field from whose minima a code starts, and how it gets there; without one, how far a code relaxes."""
        if not self.audit.force_field_first:
            return None, ScreeningConfig(fmax=self.screening.fmax)
        return published_auditor(self.audit), ScreeningConfig(**self._chosen())

    def _chosen(self) -> dict[str, Any]:
        """How a force field relaxes."""
        chosen: dict[str, Any] = {key: getattr(self.screening, key) for key in ("fmax", "optimiser", "batch_size")}
        return {**chosen, "max_steps": self.audit.max_steps}


@dataclass(frozen=True)
class _Packets:
    """How an auditor's structures are cut into jobs."""

    name: str
    size: int
    cut: Any

    def jobs(self, records: Sequence[Record], first: int, *, known: bool = False) -> list[Any]:
        """Jobs of records, numbered from ``first`` on; ``known``: of references."""
        store = current_store()
        starts = range(0, len(records), self.size)
        return [
            self.cut(f"{self.name}/{number:04d}", write_records(store, records[start : start + self.size]), known)
            for number, start in enumerate(starts, first)
        ]


def _references(views: Sequence[StateView], added: ShardReference | None) -> dict[str, Document]:
    """Geometries of references by id, in the order of ids: those of states and further ones."""
    rows = [row for view in views for row in view.references()] + list(read_records(current_store(), added or []))
    found = {str(row["_id"]): row["structure"] for row in rows}
    return {identifier: found[identifier] for identifier in sorted(found)}


def _record(identifier: str, structure: Document, how: str) -> Record:
    """A structure as labelling codes take frames."""
    return {"id": identifier, "structure": structure, "family": identifier, "kind": "relaxed", "how": how}
