"""Which imported labels are of one scale: what settings share whatever is computed, and what they say of each element.

A file of lithium and one of sulphur, computed with one set of inputs, share their functional, cutoffs and corrections, and
neither says anything of the other's potential. So the digest of their settings holds what they share (:func:`base_settings`),
and what is said of single elements (potentials, U and J) or of one cell (its mesh of k-points) is compared where labels meet:
labels are of one scale as long as nothing that is said of them contradicts (:class:`Facts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from coevo.labelling.digest import canonical_json, settings_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.labelling.contract import LabelSettings
    from coevo.labelling.imported.contract import ImportedFile

K_MESH = "k_mesh"
"""Recorded by readers: divisions of the mesh of k-points, in the cell of the first frame."""
K_SPACING, K_SPACING_RANGE = "k_spacing", "k_spacing_range"
"""Parameter, and recorded by readers that know the mesh: lowest and highest spacing that gives it, 1/Å; null: no limit."""
SPACING_RATIO = 2.0
"""Sets choose spacings for metals and insulators that differ by up to this (pymatgen's MPScanRelaxSet: 0.22 to 0.44 1/Å)."""


@dataclass(frozen=True)
class Facts:
    """What settings say beyond their base.

    Attributes
    ----------
    elements : frozenset of str
        Elements that were computed.
    potentials : dict
        Element to its potential, where that is stated.
    species : dict
        Name of a parameter to element to value, such as ``{"hubbard_u": {"Fe": 5.3}}``; an element that was computed and is not
        named carries none.
    meshes : dict
        Cell, by the lengths of its reciprocal vectors (1/1000 Å; no dots, for MongoDB), to its mesh of k-points.
    spacings : tuple of (float or None, float or None)
        Lowest and highest spacing of k-points that gives all meshes, 1/Å; None: no limit. With spacings that differ by the
        factor that is allowed, the first is above the second.
    """

    elements: frozenset[str] = frozenset()
    potentials: dict[str, str] = field(default_factory=dict)
    species: dict[str, dict[str, Any]] = field(default_factory=dict)
    meshes: dict[str, str] = field(default_factory=dict)
    spacings: tuple[float | None, float | None] = (None, None)

    def contradiction(self, other: Facts) -> str:
        """Say what two settings disagree about; an empty string if labels of both may be of one scale."""
        for element in sorted(self.potentials.keys() & other.potentials.keys()):
            if self.potentials[element] != other.potentials[element]:
                return (
                    f"{element} has the potential {self.potentials[element]} in one and {other.potentials[element]} in the other"
                )
        for name in sorted(self.species.keys() | other.species.keys()):
            one, two = self.species.get(name, {}), other.species.get(name, {})
            for element in sorted(self.elements & other.elements):
                if one.get(element) != two.get(element):
                    return f"{element} has {name} {_said(one.get(element))} in one and {_said(two.get(element))} in the other"
        for cell in sorted(self.meshes.keys() & other.meshes.keys()):
            if self.meshes[cell] != other.meshes[cell]:
                return f"the k-points of one cell are {self.meshes[cell]} in one and {other.meshes[cell]} in the other"
        for coarse, dense in ((self, other), (other, self)):
            low, high = coarse.spacings[0], dense.spacings[1]
            if low is not None and high is not None and low > SPACING_RATIO * high:
                return f"k-points are {low:g} 1/Å apart in one and at most {high:g} 1/Å in the other"
        return ""

    def joined(self, other: Facts) -> Facts:
        """Facts of two sets that do not contradict; where they do, those of this one stand."""
        names = self.species.keys() | other.species.keys()
        return Facts(
            self.elements | other.elements,
            {**other.potentials, **self.potentials},
            {name: {**other.species.get(name, {}), **self.species.get(name, {})} for name in sorted(names)},
            {**other.meshes, **self.meshes},
            (
                max((s[0] for s in (self.spacings, other.spacings) if s[0] is not None), default=None),
                min((s[1] for s in (self.spacings, other.spacings) if s[1] is not None), default=None),
            ),
        )

    def of(self, elements: Iterable[str]) -> Facts:
        """Return what is said of some of the elements."""
        kept = self.elements & set(elements)
        species = {name: {e: v for e, v in values.items() if e in kept} for name, values in self.species.items()}
        return replace(
            self,
            elements=kept,
            potentials={e: p for e, p in self.potentials.items() if e in kept},
            species={name: values for name, values in species.items() if values},
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "elements": sorted(self.elements),
            "potentials": dict(sorted(self.potentials.items())),
            "species": {name: dict(sorted(values.items())) for name, values in sorted(self.species.items())},
            "meshes": dict(sorted(self.meshes.items())),
            "spacings": list(self.spacings),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Facts:
        """Inverse of :meth:`to_dict`."""
        return cls(
            frozenset(document.get("elements", ())),
            dict(document.get("potentials") or {}),
            {name: dict(values) for name, values in (document.get("species") or {}).items()},
            dict(document.get("meshes") or {}),
            _limits(document.get("spacings")),
        )


def base_settings(imported: ImportedFile) -> LabelSettings:
    """Return what the settings of a file share with others of its set: no version, no U of an element, no potential, no mesh.

    ``PBE+U`` of a compound with iron and ``PBE`` of lithium are one functional here; which elements carry a U is a fact. So
    is the spacing of k-points, where the mesh is recorded: from a mesh it can be told within a range only.
    """
    settings = imported.settings
    facts = {"potentials", *([K_SPACING] if imported.recorded.get(K_SPACING_RANGE) else [])}
    parameters = {name: value for name, value in settings.parameters.items() if name not in facts and not _is_of_species(value)}
    return replace(settings, version="", functional=plain_functional(settings.functional), parameters=parameters)


def plain_functional(functional: str) -> str:
    """Name of a functional without its ``+U``."""
    return "+".join(part for part in functional.split("+") if part.upper() not in {"U", "U+V"}) or functional


def facts_of(imported: ImportedFile) -> Facts:
    """Return the facts of a file, of all elements in it."""
    parameters = imported.settings.parameters
    elements = {element.symbol for frame in imported.frames for element in frame.structure.composition.elements}
    return Facts(
        frozenset(elements),
        {element: str(name) for element, name in imported.potentials.items() if element in elements},
        {name: dict(value) for name, value in parameters.items() if name != "potentials" and _is_of_species(value)},
        _mesh(imported),
        _limits(imported.recorded.get(K_SPACING_RANGE)),
    )


@dataclass(frozen=True)
class Placed:
    """Where the labels of a file belong.

    Attributes
    ----------
    digest : str
    reason : str
        Why it is a digest of its own although the base is known; empty otherwise.
    """

    digest: str
    reason: str = ""


def place(files: Sequence[tuple[LabelSettings, Facts]], known: Mapping[str, Mapping[str, Facts]]) -> list[Placed]:
    """Find the digest of each file's labels; it does not depend on the order of the files.

    Parameters
    ----------
    files : sequence of (LabelSettings, Facts)
        The settings as :func:`base_settings` returns them.
    known : mapping
        Digest of a base to digest of labels to their facts, of the labels that are there.
    """
    sets = {base: dict(found) for base, found in known.items()}
    placed: dict[int, Placed] = {}
    for number in sorted(range(len(files)), key=lambda n: (canonical_json(files[n][1].to_dict()), n)):
        settings, facts = files[number]
        base = settings_digest(settings)
        digests = sets.setdefault(base, {})
        reason = ""
        for digest in sorted(digests, key=lambda name: (name != base, name)):
            contradiction = digests[digest].contradiction(facts)
            if not contradiction:
                break
            reason = reason or f"{contradiction} ({digest[:12]})"
        else:
            digest = base
            if digests:
                digest = settings_digest(replace(settings, parameters={**settings.parameters, "facts": facts.to_dict()}))
                placed[number] = Placed(digest, reason)
        digests[digest] = digests[digest].joined(facts) if digest in digests else facts
        placed.setdefault(number, Placed(digest))
    return [placed[number] for number in range(len(files))]


def _is_of_species(value: Any) -> bool:
    """Whether a parameter says something of single elements: a mapping from their symbols."""
    from pymatgen.core import Element

    return isinstance(value, dict) and bool(value) and all(Element.is_valid_symbol(str(key)) for key in value)


def _mesh(imported: ImportedFile) -> dict[str, str]:
    """Mesh of the cell of the first frame, where the reader records it."""
    mesh = imported.recorded.get(K_MESH)
    if not mesh or not imported.frames:
        return {}
    lengths = imported.frames[0].structure.lattice.reciprocal_lattice.abc
    return {" ".join(f"{1000 * length:.0f}" for length in lengths): "×".join(str(number) for number in mesh)}


def _limits(stored: Any) -> tuple[float | None, float | None]:
    low, high = stored or (None, None)
    return low, high


def _said(value: Any) -> str:
    return "none" if value is None else f"{value}"
