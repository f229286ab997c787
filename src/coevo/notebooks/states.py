"""A state in a notebook: its table, entries, structures and labels in the types of pandas, pymatgen and ASE, and its models."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal, overload

from coevo.errors import QueryError
from coevo.notebooks.reopening import address_of, open_again

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from pandas import DataFrame
    from pymatgen.analysis.phase_diagram import PhaseDiagram
    from pymatgen.core import Structure
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    from coevo.models.contracts import ForceField
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView
    from coevo.notebooks.sampling import StateGenerator
    from coevo.notebooks.studies import Study
    from coevo.notebooks.tables import EnergyOf, Kind


class State:
    """An immutable state of a node, opened for reading; from :meth:`coevo.notebooks.nodes.Node.state`.

    Energies are of the state's own force field, on its energy scale, in eV/atom unless said otherwise.

    Attributes
    ----------
    store : NodeStore
    view : StateView
        For what this class does not offer.
    branch : str or None
        The branch by whose name it was opened.
    """

    def __init__(self, store: NodeStore, view: StateView, *, branch: str | None = None):
        self.store = store
        self.view = view
        self.branch = branch

    def __reduce__(self) -> tuple[Callable[..., State], tuple[str, str, str, str, str | None]]:
        return _of_address, (*address_of(self.store), self.node, self.id, self.branch)

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.counts[kind]} {kind}" for kind in ("entries", "references", "labels") if kind in self.counts)
        return f"<coevo state {self.node}@{self.id[:12]}, iteration {self.iteration}: {counts}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and (self.id, self.node) == (other.id, other.node)

    def __hash__(self) -> int:
        return hash((self.id, self.node))

    # --- what it says of itself

    @property
    def id(self) -> str:
        """The state id."""
        return self.view.id

    @property
    def node(self) -> str:
        """Name of the node."""
        return self.view.node

    @property
    def iteration(self) -> int:
        """How many transitions lead here from the seed state."""
        return self.view.iteration

    @property
    def elements(self) -> tuple[str, ...]:
        """The chemical system."""
        return tuple(self.view.document["elements"])

    @property
    def metrics(self) -> dict[str, Any]:
        """Maturity signals, errors, counts by reason (docs/data.md)."""
        return deepcopy(self.view.document["metrics"])

    @property
    def counts(self) -> dict[str, int]:
        """Entries, references, labels, and how many of them are new."""
        return dict(self.view.document["counts"])

    @property
    def started_from(self) -> dict[str, str] | None:
        """``node`` and ``state`` that the first state of a node began with (``coevo init --from-state``); None of all others."""
        return deepcopy(self.view.started_from)

    def parent(self) -> State | None:
        """Return the state that this one continued, or None for the first one."""
        view = self.view.parent()
        return None if view is None else State(self.store, view)

    # --- structures and energies

    def to_dataframe(self, where: str | None = None, *, kind: Kind = "entry") -> DataFrame:
        """Return the evaluations as a table, one row for each structure, the most stable first; docs/data.md has the units.

        Parameters
        ----------
        where : str, optional
            OPTIMADE filter on entries, as ``coevo query`` takes it: ``'elements HAS "P" AND energy_above_hull < 0.05'``.
        kind : {"entry", "reference", "all"}

        Returns
        -------
        DataFrame
            Index ``structure_id``.

        Raises
        ------
        QueryError
            If the filter is not valid, or is asked of references.
        """
        from coevo.notebooks.tables import evaluations_table

        return evaluations_table(self.view, where, kind)

    def structure(self, structure_id: str, *, relaxed: bool = True) -> Structure:
        """Return the geometry of an entry or reference.

        Parameters
        ----------
        structure_id : str
            Or its beginning, where that is of one only.
        relaxed : bool
            Relaxed by the state's force field; else as admitted.

        Raises
        ------
        QueryError
            If it is neither an entry nor a reference of this state, or the beginning of several ids.
        """
        return self.view.structure(self._whole_id(structure_id), relaxed=relaxed)

    def _whole_id(self, beginning: str) -> str:
        manifest = self.view.manifest
        known = {*manifest["structures"], *manifest["references"]}
        found = [beginning] if beginning in known else sorted(i for i in known if beginning and i.startswith(beginning))
        if len(found) != 1:
            shown = ": " + ", ".join(i[:16] for i in found[:5]) if found else "; to_dataframe() lists the entries"
            raise QueryError(
                f"{len(found) or 'no'} entries or references of {self.node}@{self.id[:12]} have an id that begins with "
                f"{beginning!r}{shown}"
            )
        return found[0]

    def entries_pymatgen(self, *, kind: Kind = "all") -> list[ComputedStructureEntry]:
        """Return entries and references as pymatgen's, with total energies in eV: of a refuted entry its label's.

        ``entry_id`` is the structure id; ``data`` holds the fields of the evaluation, ``energy_above_hull`` among them, and of a
        reference its ``name`` and ``source``. :meth:`phase_diagram` has the state's own energies above hull.

        Parameters
        ----------
        kind : {"all", "entry", "reference"}
        """
        from coevo.notebooks.tables import computed_entries

        return computed_entries(self.view, kind)

    def phase_diagram(self) -> PhaseDiagram:
        """Return pymatgen's phase diagram of what makes the hull that ``energy_above_hull`` is measured from.

        That is everything, or, of a node with ``curation.hull: labelled``, its labelled phases.
        """
        from pymatgen.analysis.phase_diagram import PhaseDiagram
        from pymatgen.core import Element

        from coevo.makers.populations.hull_members import is_counted

        counted = {row["structure_id"] for row in self.view.evaluations() if is_counted(row)}
        entries = [entry for entry in self.entries_pymatgen() if entry.entry_id in counted]
        return PhaseDiagram(entries, elements=[Element(symbol) for symbol in self.elements])

    # --- studies

    def studies(self, kind: str | None = None) -> list[Study]:
        """Return what was asked of this state and is kept beside it (``coevo study``), in the order in which it was stored.

        Parameters
        ----------
        kind : str, optional
            Only studies of this kind, such as ``"phonons"``.
        """
        from coevo.notebooks.studies import Study

        return [Study(self.store, found) for found in self.view.studies(kind)]

    # --- labels

    @overload
    def labels(
        self,
        form: Literal["ase"] = "ase",
        *,
        energy: EnergyOf = "code",
        status: str | None = "admitted",
        split: str | None = None,
    ) -> list[Atoms]: ...
    @overload
    def labels(
        self,
        form: Literal["documents"],
        *,
        energy: EnergyOf = "code",
        status: str | None = "admitted",
        split: str | None = None,
    ) -> list[dict[str, Any]]: ...
    def labels(
        self,
        form: Literal["ase", "documents"] = "ase",
        *,
        energy: EnergyOf = "code",
        status: str | None = "admitted",
        split: str | None = None,
    ) -> list[Atoms] | list[dict[str, Any]]:
        """Return the labels.

        Parameters
        ----------
        form : {"ase", "documents"}
            ASE Atoms whose calculator holds the total energy (eV), forces (eV/Å) and stress (eV/Å³, six components in Voigt
            order, positive = tensile: ASE's sign), with id, split, code and settings in ``info``; or the documents as stored.
        energy : {"code", "state"}
            Of Atoms: as the labelling code gives it; or on the energy scale of the state's force field (anion correction and
            offsets of the elements applied), which it is trained on and predicts. Forces and stresses are the same.
        status : {"admitted", "rejected", "failed"} or None
            None: all of them; those that have no numbers come without a calculator.
        split : {"train", "validation", "test"} or None

        Raises
        ------
        QueryError
            If one of these words is another.
        LabellingError
            With ``energy="state"``: labels have no offsets to the scale of the force field.
        """
        from coevo.notebooks.tables import atoms_of_labels, chosen_labels

        documents = chosen_labels(self.view, status, split)
        if form == "documents":
            return documents
        if form != "ase":
            raise QueryError(f"labels: got {form!r}, allowed: 'ase', 'documents'")
        return atoms_of_labels(self.store, self.view, documents, energy)

    # --- models

    def force_field(self) -> ForceField:
        """Load the state's own force field; ``.calculator()`` of it is an ASE calculator.

        Raises
        ------
        CheckpointError
            If it is not here, came in a bundle and is not trusted, or cannot be read.
        """
        from coevo.makers.checkpoints import load_force_field
        from coevo.node_store.known_fields import checkpoint_reference

        return load_force_field(self.store, checkpoint_reference(self.view.document["checkpoints"]["force_field"]))

    def generator(self) -> StateGenerator:
        """Load the state's own crystal generator; ``.sample(n)`` of it draws structures as the loop asks for them.

        Raises
        ------
        CheckpointError
            As :meth:`force_field`.
        ConfigError
            The state came in a bundle, and its configuration names things of this machine that nobody has agreed to.
        """
        from coevo.notebooks.sampling import load_state_generator

        return load_state_generator(self.store, self.view)


def _of_address(place: str, artifacts: str, node: str, identifier: str, branch: str | None) -> State:
    """Open a state that was pickled."""
    store = open_again(place, artifacts)
    return State(store, store.state(f"{node}@{identifier}"), branch=branch)
