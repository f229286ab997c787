"""What a report is made of: a state, its history and its evaluations, read once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coevo.configs.tree import CurationConfig, MaturityConfig, NodeSection
from coevo.labelling.registry import described
from coevo.node_store.lineage.transfers import history
from coevo.node_store.recorded import readable_configuration
from coevo.studies.states.environment_coverage import probe_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.node_store.store import NodeStore
    from coevo.node_store.study_documents import StoredStudy
    from coevo.node_store.views import StateView

SHORT_ID = 8


@dataclass(frozen=True)
class ReportData:
    """A state and all that its report needs of the database.

    Attributes
    ----------
    ref : str
        As the user named the state.
    view : StateView
    line : tuple of StateView
        The state and those that were continued to make it, oldest first; what was merged in is left out.
    states : tuple of StateView
        The state and all its ancestors, parents before children.
    branches : dict of str to list of str
        Names of the branches at each state id.
    entries, references : list of dict
        Evaluations, without relaxed geometries.
    reference_names : dict of str to str
        Common name, or formula, of each reference.
    probe : str
        What a probe says of environments, in words; empty without one.
    studies : list of StoredStudy
        Of the state, in the order in which they were stored.
    """

    ref: str
    view: StateView
    line: tuple[StateView, ...]
    states: tuple[StateView, ...]
    branches: dict[str, list[str]]
    entries: list[dict[str, Any]]
    references: list[dict[str, Any]]
    reference_names: dict[str, str]
    probe: str = ""
    studies: list[StoredStudy] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the state."""
        return self.view.document["metrics"]

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements of the node at this state."""
        return tuple(self.view.document["elements"])

    @property
    def stable_threshold(self) -> float:
        """E_hull up to which a structure counts as stable, eV/atom."""
        return float(self.view.document["config"]["curation"]["stable_threshold"])

    @cached_property
    def live_entries(self) -> list[dict[str, Any]]:
        """Entries that are no duplicates of others."""
        return [row for row in self.entries if row["duplicate_of"] is None]

    @cached_property
    def sun_entries(self) -> list[dict[str, Any]]:
        """Stable, unique and novel entries, the lowest E_hull first."""
        found = [row for row in self.entries if row["is_sun"]]
        return sorted(found, key=lambda row: (row["energy_above_hull"], row["structure_id"]))

    def candidates_until(self, view: StateView) -> int:
        """Candidates generated in a state and all its ancestors, those of merged histories included."""
        known = {state.id: state for state in self.states}
        reached: set[str] = set()
        waiting = [view.id]
        while waiting:
            state = waiting.pop()
            if state not in reached:
                reached.add(state)
                waiting.extend(known[state].parents)
        return sum(known[state].document["metrics"].get("iteration", {}).get("candidates", 0) for state in reached)


def gather(store: NodeStore, ref: str) -> ReportData:
    """Read a state for its report.

    Raises
    ------
    StateNotFoundError, NodeNotFoundError
        If there is no such state.
    CorruptArtifactError
        If its configuration is none.
    """
    return with_evaluations(outline(store, store.state(ref), ref))


def outline(store: NodeStore, view: StateView, ref: str) -> ReportData:
    """Read what there is to say of a state and its history, without its entries and references.

    Raises
    ------
    CorruptArtifactError
        If its configuration is none.
    """
    with readable_configuration(view):
        _check_configuration(view.document["config"])
    branches: dict[str, list[str]] = {}
    for name, state in store.node(view.node).branches.items():
        if state:
            branches.setdefault(state, []).append(name)
    line = [view, *view.first_parents()]
    return ReportData(
        ref=ref,
        view=view,
        line=tuple(reversed(line)),
        states=tuple(history([view])),
        branches=branches,
        entries=[],
        references=[],
        reference_names={},
        probe=probe_words(store.backend, line),
        studies=view.studies(),
    )


def with_evaluations(data: ReportData) -> ReportData:
    """Read the evaluations of entries and references too, and the names of these."""
    return replace(with_references(data), entries=list(data.view.with_studied(data.view.entries(projection={"relaxed": 0}))))


def with_references(data: ReportData) -> ReportData:
    """Read the evaluations and names of references."""
    view = data.view
    return replace(
        data,
        references=[{key: value for key, value in row.items() if key != "relaxed"} for row in view.evaluations("reference")],
        reference_names={row["_id"]: str(row.get("name") or row["formula"]) for row in view.references()},
    )


def _check_configuration(config: dict[str, Any]) -> None:
    """Make sure that what the page says of a configuration is there; raises what a mapping and pydantic do."""
    NodeSection.model_validate(config["node"])
    CurationConfig.model_validate(config["curation"])
    MaturityConfig.model_validate(config["maturity"])
    described(config["labelling"])


def geometries(view: StateView, ids: Sequence[str], chunk: int = 200) -> Iterator[tuple[str, Structure]]:
    """Yield entries and references of a state with their present geometries, in the order of the ids, a chunk at a time."""
    for start in range(0, len(ids), chunk):
        for identifier in ids[start : start + chunk]:
            yield identifier, view.structure(identifier)


def short(ids: Iterable[str]) -> list[str]:
    """Abbreviate ids."""
    return [identifier[:SHORT_ID] for identifier in ids]
