"""The kinds of studies: a row each. Whoever adds one writes its settings, its flow and its words, and a row here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coevo.errors import QueryError

if TYPE_CHECKING:
    from coevo.configs.section import Section


@dataclass(frozen=True)
class StudyKind:
    """A kind of study. Parts are named as ``module:name`` and imported when they are used.

    Attributes
    ----------
    name : str
        As in ``coevo study NAME`` and in documents.
    title : str
        One line, for help and lists.
    settings : str
        Its settings, a :class:`~coevo.configs.section.Section`: ``coevo.configs.studies.NAME:NameStudy``.
    flow : str
        ``make(config, inputs, settings)`` of the node's configuration, :class:`~coevo.flows.studies.inputs.StudyInputs` and the
        settings; returns a Flow whose output has ``results``, ``entries``, ``artifacts`` and ``packages``.
    estimate : str
        ``estimate(config, structures, settings)`` of the chosen structures; returns a
        :class:`~coevo.flows.studies.inputs.StudyEstimate`. It computes nothing of a model.
    summary : str
        ``summary(document)`` of the whole document of a study; returns lines of text. Pure.
    tables : str
        ``tables(document)``; returns a list of (title, columns, rows of texts, numbers or None). Pure.
    """

    name: str
    title: str
    settings: str
    flow: str
    estimate: str
    summary: str
    tables: str

    def settings_class(self) -> type[Section]:
        """Return the class of its settings."""
        found: type[Section] = part(self.settings)
        return found


def part(name: str) -> Any:
    """Import a part of a kind, ``module:name``."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


KINDS: dict[str, StudyKind] = {
    "stability": StudyKind(
        name="stability",
        title="what is stable at temperature and pressure",
        settings="coevo.configs.studies.stability:StabilityStudy",
        flow="coevo.flows.studies.stability:make",
        estimate="coevo.flows.studies.stability:estimate",
        summary="coevo.studies.stability.words:stability_summary",
        tables="coevo.studies.stability.words:stability_tables",
    ),
    "phonons": StudyKind(
        name="phonons",
        title="which phases are dynamically stable",
        settings="coevo.configs.studies.phonons:PhononStudy",
        flow="coevo.flows.studies.phonons:make",
        estimate="coevo.flows.studies.phonons:estimate",
        summary="coevo.studies.stability.words:phonon_summary",
        tables="coevo.studies.stability.words:phonon_tables",
    ),
    "transport": StudyKind(
        name="transport",
        title="how fast ions move",
        settings="coevo.configs.studies.transport:TransportStudy",
        flow="coevo.flows.studies.transport:make",
        estimate="coevo.flows.studies.transport:estimate",
        summary="coevo.studies.transport.words:summary",
        tables="coevo.studies.transport.words:tables",
    ),
}
"""Name to kind; one more is one more row."""


def kind_of(name: str) -> StudyKind:
    """Return a kind by its name.

    Raises
    ------
    QueryError
        If there is none of this name.
    """
    if name not in KINDS:
        raise QueryError(f"there is no study {name!r}; studies: {', '.join(KINDS) or 'none'}")
    return KINDS[name]
