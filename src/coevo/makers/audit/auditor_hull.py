"""The hull of the auditor's own energies, and its verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.audit.estimates import verdict_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.analysis.hull.hull import Hull


@dataclass(frozen=True)
class AuditorHull:
    """The hull of the auditor's own energies: of references, and of what it looked at so far, entries or not.

    Made by :meth:`of`.

    Attributes
    ----------
    reason : str
        Why there is no hull; empty if there is one.
    ids : tuple of str
        Of the points.
    shares, energies : ndarray, shape (n, k) and (n,)
        Atomic fractions; eV/atom on the auditor's own scale.
    elements : tuple of str
    said : mapping
        What the auditor said, by id, references among it.
    unanswered : tuple of frozenset of str
        Elements of each reference of which it has no energy.
    relaxes : bool
        Whether it relaxes, so that what is not relaxed is an exception.
    """

    reason: str
    ids: tuple[str, ...]
    shares: Any
    energies: Any
    elements: tuple[str, ...]
    said: Mapping[str, Mapping[str, Any]]
    unanswered: tuple[frozenset[str], ...]
    relaxes: bool

    @classmethod
    def of(
        cls,
        elements: Sequence[str],
        formulas: Mapping[str, str],
        references: Mapping[str, Mapping[str, Any]],
        said: Mapping[str, Mapping[str, Any]],
        *,
        relaxes: bool,
    ) -> AuditorHull:
        """Collect the points.

        Parameters
        ----------
        elements : sequence of str
            Of the node.
        formulas : mapping
            By id.
        references, said : mapping of str to dict
            ``energy_per_atom`` on the auditor's own scale, eV/atom, or None; ``is_bound``.
        relaxes : bool
        """
        from coevo.analysis.composition import fractions
        from coevo.analysis.hull.hull import Hull
        from coevo.errors import AnalysisError

        everything = {**said, **references}
        ids = tuple(i for i, row in everything.items() if row["energy_per_atom"] is not None and i in formulas)
        silent = [i for i, row in references.items() if row["energy_per_atom"] is None and i in formulas]
        amounts = fractions([formulas[i] for i in silent], elements) if silent else ()
        unanswered = {frozenset(symbol for symbol, x in zip(elements, row, strict=True) if x > 0) for row in amounts}
        shares = fractions([formulas[i] for i in ids], elements) if ids else ()
        energies = np.array([everything[i]["energy_per_atom"] for i in ids], dtype=float)
        reason = "the auditor has no energy of anything" if everything and not ids else ""
        if ids:
            try:
                Hull.from_points(elements, shares, energies)
            except AnalysisError as err:
                reason = str(err)
        return cls(reason, ids, shares, energies, tuple(elements), everything, tuple(unanswered), relaxes)

    def judged(self, wanted: Sequence[str], threshold: float) -> tuple[dict[str, float], dict[str, str]]:
        """Energies above hull, and verdicts.

        A phase that is missing, or whose energy is known from above only, could only raise E_hull. So what would be *stable* is
        undecided where a reference that the auditor said nothing of has no other elements than the structure, or where what it
        would decompose into holds a phase that an auditor that relaxes did not relax; *unstable* it is whatever is missing.

        Parameters
        ----------
        wanted : sequence of str
            Ids.
        threshold : float
            eV/atom.

        Returns
        -------
        above : dict of str to float
            eV/atom; of those with an energy, but not beside a reference that is missing.
        verdicts : dict of str to str
            Of all that is wanted.
        """
        from coevo.analysis.hull.hull import Hull

        above: dict[str, float] = {}
        verdicts = dict.fromkeys(wanted, "undecided")
        if self.reason or not self.ids:
            return above, verdicts
        hull = Hull.from_points(self.elements, self.shares, self.energies)
        places = {i: place for place, i in enumerate(self.ids)}
        values = hull.energy_above_hull(self.shares, self.energies)
        for i in wanted:
            place = places.get(i)
            if place is None:
                continue
            value = float(values[place])
            verdict = verdict_of(value, is_bound=self.said[i]["is_bound"], threshold=threshold)
            lacks = self._lacks_a_reference(place)
            if verdict == "stable" and (lacks or self._has_a_rival_not_relaxed(hull, place)):
                verdict = "undecided"
            verdicts[i] = verdict
            if not lacks:
                above[i] = value
        return above, verdicts

    def _lacks_a_reference(self, place: int) -> bool:
        mine = {symbol for symbol, x in zip(self.elements, self.shares[place], strict=True) if x > 0}
        return any(missing <= mine for missing in self.unanswered)

    def _has_a_rival_not_relaxed(self, hull: Hull, place: int) -> bool:
        """Whether a phase that was not relaxed is among those that a structure, itself left out, would decompose into."""
        from coevo.analysis.hull.hull import Hull
        from coevo.errors import AnalysisError

        loose = {i for i, row in self.said.items() if row["is_bound"]} if self.relaxes else set()
        if not loose - {self.ids[place]}:
            return False
        rivals = [self.ids[k] for k in hull.decomposition(self.shares[place])]
        if self.ids[place] in rivals:
            others = [k for k in range(len(self.ids)) if k != place]
            try:
                without = Hull.from_points(self.elements, self.shares[others], self.energies[others])
            except AnalysisError:  # it is the only one of its element
                return False
            rivals = [self.ids[others[k]] for k in without.decomposition(self.shares[place])]
        return bool(loose.intersection(rivals))
