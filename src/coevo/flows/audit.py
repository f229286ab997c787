"""How an audit is wired into a flow: drawn after the re-evaluation, looked at, judged; nothing where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.audit.audit import AuditMaker
from coevo.makers.audit.judge import JudgeAuditMaker

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig


class Audit:
    """The audit within one flow.

    Parameters
    ----------
    config : NodeConfig
    prefix : str
        How names of jobs begin: ``NODE/ITERATION``.

    Attributes
    ----------
    jobs : list
        That it added to the flow.
    """

    def __init__(self, config: NodeConfig, prefix: str) -> None:
        self._config, self._prefix = config, prefix
        self._audited: Any = None
        self.jobs: list[Any] = []

    def judge(self, assessed: Any, shards: Any, curated: Any, force_field: Any, parent: str, iteration: int, labels: Any) -> Any:
        """Have the auditor look and judge; returns the output to use in place of ``assessed``.

        Parameters
        ----------
        assessed, shards, curated : reference
            To the outputs of the jobs before.
        force_field : reference
            To the checkpoint of the new state.
        parent : str
            Id of the parent state.
        iteration : int
        labels : reference
            To the shard of new labels.
        """
        return self._judged(assessed, force_field, [parent], labels, (assessed, shards, curated, [parent], iteration), {})

    def judge_again(
        self, assessed: Any, shards: Any, force_field: Any, parents: list[str], iteration: int, labels: Any, references: Any
    ) -> Any:
        """Judge by what the auditor said before, where nothing is generated; it looks at references alone.

        Parameters
        ----------
        assessed, shards : reference
            To the outputs of the jobs before.
        force_field : reference
            To the checkpoint of the new state.
        parents : list of str
            Ids.
        iteration : int
        labels : reference or None
            To the shard of new labels.
        references : reference
            To the shard of new references.
        """
        asked = (assessed, shards, None, parents, iteration)
        return self._judged(assessed, force_field, parents, labels, asked, {"references": references, "anew": False})

    def _judged(
        self, assessed: Any, force_field: Any, parents: list[str], labels: Any, asked: tuple[Any, ...], more: dict[str, Any]
    ) -> Any:
        config, workers = self._config, self._config.resources.workers
        if not config.audit.in_use:
            return assessed
        name = "audit-label" if config.audit.first_principles else "audit"
        common: Any = {
            "node": config.node,
            "curation": config.curation,
            "audit": config.audit,
            "labelling": config.labelling,
        }
        audit = AuditMaker(f"{self._prefix}/{name}", workers, screening=config.screening, **common).make(*asked, **more)
        judge = JudgeAuditMaker(f"{self._prefix}/judge-audit", workers, force_field=config.screening.force_field, **common).make(
            assessed, audit.output, force_field, parents, labels
        )
        self.jobs += [audit, judge]
        self._audited = {"before": assessed, "audit": audit.output}
        return judge.output

    def for_commit(self) -> dict[str, Any]:
        """What the commit is told in addition."""
        return {"audited": self._audited} if self._audited is not None else {}
