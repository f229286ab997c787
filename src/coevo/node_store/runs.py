"""Campaigns of branches and their runs: which there are, and one run at a time on a branch: who holds it."""

from __future__ import annotations

import os
import re
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coevo.errors import CampaignError, ConfigError, NodeBusyError
from coevo.node_store.canonical import digest
from coevo.node_store.documents import BRANCH_NAME, CampaignDocument
from coevo.node_store.names import MAIN

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from coevo.node_store.backend import Backend


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def campaign_id(node: str, branch: str, start: str | None, iterations: int, number: int) -> str:
    """Name a campaign; numbered, because it may start where an earlier one of the branch started and ended without a state."""
    return digest({"node": node, "branch": branch, "start": start, "iterations": iterations, "number": number})[:24]


def this_process() -> dict[str, Any]:
    """Describe this process as the holder of a lock: pid, host, since when."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now()}


def busy(node: str, branch: str, holder: dict[str, Any]) -> NodeBusyError:
    """Make the error that names the process that holds a branch."""
    who = "another process"
    if holder:
        who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
    return NodeBusyError(
        f"branch {branch} of node {node} is being run by {who}; wait for it to end, or stop it, and run the same command again"
    )


def check_branch_name(branch: str) -> None:
    """Refuse a name that no branch can have.

    Raises
    ------
    ConfigError
    """
    if not re.fullmatch(BRANCH_NAME, branch):
        raise ConfigError(
            f"{branch!r} cannot name a branch: allowed are letters, digits and . - _, the first a letter or digit, at most 100"
        )
    if re.fullmatch(r"[0-9a-f]{64}", branch):
        raise ConfigError(f"{branch!r} cannot name a branch: it could be the id of a state, which would be hidden")


class Campaigns:
    """The campaigns of a store's nodes, and the locks of their branches: one part of :class:`coevo.node_store.store.NodeStore`.

    Attributes
    ----------
    backend : Backend
    """

    backend: Backend

    def _node(self, name: str) -> dict[str, Any]:
        """Return the document of a node, or say that there is none."""
        raise NotImplementedError

    def campaigns(self, node: str) -> list[CampaignDocument]:
        """Return the campaigns of a node, oldest first."""
        self._node(node)
        return [CampaignDocument(**document) for document in self.backend.campaigns(node)]

    def unfinished_campaign(self, node: str, branch: str = MAIN) -> CampaignDocument | None:
        """Return the campaign that is to be finished before a new one starts on this branch, or None."""
        running = [campaign for campaign in self.campaigns(node) if campaign.branch == branch and campaign.status == "running"]
        return running[0] if running else None

    def start_campaign(self, node: str, branch: str, iterations: int, start: str | None) -> CampaignDocument:
        """Record a campaign before it runs; recording the one that is running already returns it.

        Parameters
        ----------
        node, branch : str
        iterations : int
            Transitions to make.
        start : str or None
            Head of the branch now.

        Raises
        ------
        CampaignError
            If another campaign of the branch is not finished.
        """
        unfinished = self.unfinished_campaign(node, branch)
        if unfinished:
            if (unfinished.iterations, unfinished.start) == (iterations, start):
                return unfinished
            raise CampaignError(
                f"campaign {unfinished.id} of {node}@{branch} is not finished ({unfinished.iterations} iterations from "
                f"{unfinished.start or 'nothing'}, recorded {unfinished.created[:19]}); finish it first: "
                f"coevo run {node}{'' if branch == MAIN else f' --branch {branch}'}"
            )
        number = sum(campaign.branch == branch for campaign in self.campaigns(node))
        document = {"node": node, "branch": branch, "start": start, "iterations": iterations}
        document |= {"id": campaign_id(node, branch, start, iterations, number)}
        document |= {"status": "running", "created": now(), "ended": None}
        return CampaignDocument(**self.backend.insert_campaign(document))

    def finish_campaign(self, identifier: str, status: str = "finished") -> None:
        """Record how a campaign ended.

        Raises
        ------
        CampaignError
            If there is no campaign of this id.
        """
        if not self.backend.update_campaign(identifier, {"status": status, "ended": now()}):
            raise CampaignError(f"there is no campaign {identifier!r}")

    def run_lock(self, node: str, branch: str = MAIN) -> AbstractContextManager[None]:
        """Hold a branch for one run (a context manager); it is freed when the process ends, however it ends.

        Raises
        ------
        ConfigError
            If the name cannot be one of a branch.
        NodeBusyError
            When entered, if another process holds it; the message names pid, host and since when.
        """
        self._node(node)
        check_branch_name(branch)
        return self.backend.run_lock(node, branch)
