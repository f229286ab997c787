"""The labelling code of a node, handed what it needs of other rooms, and the settings digest under which its labels are stored.

The settings of a code that names a potential of each element of the node grow with the node: after an extension by chlorine
they hold a potential that no label used so far. Labels of the other elements are of the same settings all the same. So the
present settings, restricted to fewer elements, are compared with the digests that labels have, and the older digest goes on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from coevo.labelling.digest import canonical_json, settings_digest
from coevo.labelling.registry import by_element

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from coevo.configs.tree import LabellingConfig, NodeConfig
    from coevo.labelling.contract import Labeller, LabelSettings

    Label = dict[str, Any]


MOST_ADDED = 12
"""Elements that a node may have got since its labels were made in any combination; of more, any three."""


def labeller_for(labelling: LabellingConfig, *, elements: Sequence[str] = (), workers: int = 1) -> Labeller:
    """Return the labelling code that a configuration names.

    Parameters
    ----------
    labelling : LabellingConfig
    elements : sequence of str
        Elements of the node, for codes whose settings name a potential of each.
    workers : int

    Raises
    ------
    LabellingError
        If the code cannot be had; executables and potentials are looked for when its settings are asked for.
    """
    from coevo.labelling.contract import Workplace
    from coevo.labelling.registry import labeller_at
    from coevo.settings import read_settings

    return labeller_at(Workplace(labelling, tuple(elements), read_settings(), workers, _force_field))


def _force_field(family: str, weights: str) -> Any:
    from coevo.models.registry import force_field_from
    from coevo.settings import read_settings

    return force_field_from(family, weights=weights, device=read_settings().device)


def check_labelling(config: NodeConfig) -> None:
    """Look for what the labels of a node need on this machine, hours before the first of them is made.

    Raises
    ------
    LabellingError
        The executable, a potential or a package is missing or is not what the configuration names.
    """
    if config.selection.structures:
        labeller_for(config.labelling, elements=config.node.elements).settings()


@dataclass(frozen=True)
class CurrentSettings:
    """Settings of the labels that are made now.

    Attributes
    ----------
    own : str
        Digest of the settings as they are on this machine.
    digest : str
        Digest that labels are stored under: ``own``, or that of older labels with the same settings for fewer elements.
    """

    own: str
    digest: str


def current_settings(labelling: LabellingConfig, elements: Sequence[str], labels: Iterable[Label]) -> CurrentSettings:
    """Find out what labels are made with now and which older labels were made so.

    Parameters
    ----------
    labelling : LabellingConfig
    elements : sequence of str
        Of the node.
    labels : iterable of dict
        Label documents of the state.

    Raises
    ------
    LabellingError
        If the code cannot run here.
    """
    return settings_among(labeller_for(labelling, elements=elements).settings(), labels)


def settings_among(settings: LabelSettings, labels: Iterable[Label]) -> CurrentSettings:
    """Return the digest of settings, or that of older labels which were made with them; see :func:`current_settings`.

    Of several older digests (as after a merge) that of most admitted labels goes on. Where a potential differs from that of
    an older label, also of an element that came later, the settings are others.
    """
    own = settings_digest(settings)
    name = by_element(settings.code)
    if not settings.parameters.get(name):
        return CurrentSettings(own, own)
    by_digest: dict[str, list[Label]] = {}
    for label in labels:
        if label.get("code") == settings.code and label.get("settings_digest"):
            by_digest.setdefault(label["settings_digest"], []).append(label)
    if own in by_digest:
        return CurrentSettings(own, own)
    fitting = Counter(
        {
            digest: 1 + sum(label["status"] == "admitted" for label in rows)
            for digest, rows in by_digest.items()
            if _made_them(settings, name, digest, rows)
        }
    )
    return CurrentSettings(own, min(fitting, key=lambda digest: (-fitting[digest], digest)) if fitting else own)


def facts_of_label(settings: LabelSettings, elements: Iterable[str]) -> Label:
    """Fields of a computed label that is stored under an older digest: what is said of its elements, hashed."""
    said = settings.parameters[by_element(settings.code)]
    return {"settings_facts": {"potentials": {element: canonical_json(said[element]) for element in sorted(elements)}}}


def _made_them(settings: LabelSettings, name: str, digest: str, labels: Sequence[Label]) -> bool:
    """Whether the settings, for the elements that the node had then, are those of the labels."""
    said: dict[str, Any] = settings.parameters[name]
    for label in labels:
        for element, potential in ((label.get("settings_facts") or {}).get("potentials") or {}).items():
            if element in said and canonical_json(said[element]) != potential:
                return False
    # labels that were stored under the digest later may hold elements that it does not know
    first = [label for label in labels if not label.get("settings_facts")]
    used = {species["element"] for label in first for site in label["structure"]["sites"] for species in site["species"]}
    return any(
        settings_digest(replace(settings, parameters={**settings.parameters, name: {e: said[e] for e in said if e in chosen}}))
        == digest
        for chosen in _subsets(set(said), used & set(said))
    )


def _subsets(elements: set[str], used: set[str]) -> Iterator[set[str]]:
    """Sets of elements, the largest first, that hold the used ones."""
    free = sorted(elements - used)
    for left_out in range(1, (len(free) if len(free) <= MOST_ADDED else 3) + 1):
        for gone in combinations(free, left_out):
            yield elements - set(gone)
