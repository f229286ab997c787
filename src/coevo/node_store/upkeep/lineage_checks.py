"""Checks of what points at states: branches and campaigns."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coevo.node_store.backend_upkeep import Finding
from coevo.node_store.documents import CampaignDocument
from coevo.node_store.runs import campaign_id
from coevo.output.counts import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

RESTORE = "restore it from a copy"


def closure(heads: Collection[str], parents: Mapping[str, Sequence[str]]) -> set[str]:
    """Return states and all their ancestors, as far as they are in ``parents``."""
    found: set[str] = set()
    queue = [head for head in heads if head in parents]
    while queue:
        state = queue.pop()
        if state not in found:
            found.add(state)
            queue += [parent for parent in parents[state] if parent in parents]
    return found


def check_branches(
    node: str, branches: Mapping[str, str], parents: Mapping[str, Sequence[str]], *, main: str
) -> Iterator[Finding]:
    """Find branches at states that are not there, and states that no branch has."""
    for branch, state in branches.items():
        if state not in parents:
            todo = "restore the state, or move the branch to one that is there: coevo log shows them"
            yield Finding("problem", f"it is at state {state}, which is damaged or not stored", f"{node}@{branch}", todo)
    if main not in branches and parents:
        newest = max(parents, key=lambda state: (len(closure([state], parents)), state))
        todo = f"if it was there and nobody deleted it, make it again: coevo branch {node}@{newest[:16]} {main}"
        yield Finding("note", f"there are {len(parents)} states and no branch {main}", node, todo)
    loose = set(parents) - closure(branches.values(), parents)
    if loose:
        what = f"{counted(len(loose), 'states')} in no branch, e.g. {min(loose)}"
        yield Finding("note", what, node, "coevo gc removes old ones; coevo branch gives one a name")


def check_campaigns(node: str, campaigns: Sequence[dict[str, Any]], parents: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """Check each campaign's record, its id, its place in the row of its branch's campaigns, and the state it started from."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for document in campaigns:
        where = f"campaign {document.get('id')} of {node}"
        try:
            campaign = CampaignDocument(**document)
        except (ValidationError, TypeError) as err:
            yield Finding("problem", f"its record is not valid: {err}", where, RESTORE)
            continue
        identity = (campaign.node, campaign.branch, campaign.start, campaign.iterations)
        number = next((n for n in range(len(campaigns) + 100) if campaign_id(*identity, n) == campaign.id), None)
        if number is None or campaign.node != node:
            yield Finding("problem", "its id is not that of its record", where, RESTORE)
        else:
            numbers[campaign.branch].add(number)
        if campaign.start is not None and campaign.start not in parents:
            severe = campaign.status == "running"
            yield Finding(
                "problem" if severe else "note",
                f"it started from state {campaign.start}, which is not stored (any more)",
                where,
                "restore the state from a copy" if severe else "nothing: it has ended",
            )
    for branch, found in numbers.items():
        lost = sorted(set(range(max(found))) - found)
        if lost:
            yield Finding(
                "problem", f"campaigns number {', '.join(map(str, lost))} of branch {branch} are missing", node, RESTORE
            )
