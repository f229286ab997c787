"""The last step of a study: its document, written beside the state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import job

from coevo.errors import CorruptArtifactError
from coevo.makers.step import Document, StepMaker, current_store
from coevo.node_store.study_commit import commit_study
from coevo.node_store.study_documents import KIND, VERSION
from coevo.output.progress import reporter

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class CommitStudyMaker(StepMaker):
    """Write a study beside its state. Not stored under a key: the same study is the same document.

    Attributes
    ----------
    head : dict
        ``study``, ``node``, ``state``, ``checkpoints``, ``phases``, ``settings`` and ``softness`` of the document.
    """

    name: str = "commit-study"
    head: dict[str, Any] = field(kw_only=True)

    @job
    def make(self, found: Mapping[str, Any]) -> Document:
        """Write the study.

        Parameters
        ----------
        found : mapping
            ``results``, ``entries``, ``artifacts`` and ``packages`` of the document; other keys are left out.

        Returns
        -------
        dict
            ``study``: its id; ``node`` and ``state``.

        Raises
        ------
        CorruptArtifactError
            If the document is not one that may be stored.
        """
        reporter().job_started(self.name)
        document = {
            "kind": KIND,
            "version": VERSION,
            **self.head,
            "packages": dict(found.get("packages", {})),
            "results": found["results"],
            "entries": found.get("entries", {}),
            "artifacts": [dict(artifact) for artifact in found.get("artifacts", ())],
        }
        try:
            identifier = commit_study(current_store(), document)
        except ValueError as err:
            raise CorruptArtifactError(f"study {self.head['study']} of {self.head['node']} was not stored: {err}") from None
        reporter().job_finished(self.name, 0.0, reused=False)
        return {"study": identifier, "node": self.head["node"], "state": self.head["state"]}
