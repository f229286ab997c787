"""A study in a notebook: its document, its tables in pandas, its files."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from coevo.errors import QueryError

if TYPE_CHECKING:
    from pandas import DataFrame

    from coevo.node_store.store import NodeStore
    from coevo.node_store.study_documents import StoredStudy


class Study:
    """What was asked of a state, beside it; from :meth:`coevo.notebooks.states.State.studies`.

    Attributes
    ----------
    store : NodeStore
    """

    def __init__(self, store: NodeStore, found: StoredStudy):
        self.store = store
        self._found = found

    def __repr__(self) -> str:
        from coevo.studies.study_words import title_of

        return f"<coevo {title_of(self._found)}>"

    @property
    def id(self) -> str:
        """Digest of the document."""
        return self._found.id

    @property
    def kind(self) -> str:
        """Which kind of study, such as ``"phonons"``."""
        return self._found.study

    @property
    def state(self) -> str:
        """Id of the state."""
        return self._found.state

    @property
    def document(self) -> dict[str, Any]:
        """All that the study says (docs/data.md)."""
        return deepcopy(self._found.document)

    @property
    def results(self) -> dict[str, Any]:
        """``results`` of the document, as its kind writes them."""
        return deepcopy(self._found.document["results"])

    def lines(self) -> list[str]:
        """Return what it says in sentences, how soft its force field is among them."""
        from coevo.studies.study_words import study_lines

        return study_lines(self._found)

    def tables(self) -> dict[str, DataFrame]:
        """Return its tables by their titles; units are in the names of columns."""
        from pandas import DataFrame

        from coevo.studies.study_words import study_tables

        return {table.title: DataFrame(list(table.rows), columns=list(table.columns)) for table in study_tables(self._found)}

    def file(self, name: str) -> bytes:
        """Return one of its files.

        Raises
        ------
        QueryError
            If it has no file of this name.
        """
        files = {artifact["name"]: artifact["sha256"] for artifact in self._found.document["artifacts"]}
        if name not in files:
            raise QueryError(f"study {self.id[:12]} has no file {name!r}; it has: {', '.join(files) or 'none'}")
        return self.store.artifacts.get_bytes(files[name])
