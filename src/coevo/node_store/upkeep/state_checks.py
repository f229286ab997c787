"""Checks of one state's documents: its manifest, the documents that it added, and its evaluations.

Also here, checks of what points at states: branches and campaigns.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coevo.node_store.backend_upkeep import Finding
from coevo.node_store.canonical import read_plain, structure_document_id, structure_text_id
from coevo.node_store.documents import DERIVED_EVALUATION_FIELDS, CampaignDocument, refuted_energy, with_derived_fields
from coevo.node_store.evaluation_claims import untrue_claim
from coevo.node_store.identity import EvaluationsDigest, label_id
from coevo.node_store.known_fields import refuse_marked_geometry, refuse_marked_keys, refuse_marked_text
from coevo.node_store.prepared_documents import cut_out, joined_text, without_fields
from coevo.node_store.runs import campaign_id
from coevo.node_store.standing_labels import energies_said, judged_entry, without_label
from coevo.node_store.states import SPLITS
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from coevo.node_store.backend import Kind
    from coevo.node_store.prepared_documents import Line
    from coevo.node_store.standing_labels import Said
    from coevo.node_store.views import StateView

    Damage = tuple[type[Exception], ...]

BATCH = 256
_COLLECTIONS = {"entry": "structures", "reference": "references"}
SHOWN = 3
"""Ids of damaged documents that a message names."""


def check_manifest(view: StateView, damage: Damage) -> str:
    """Compare a state's manifest with its hash and its document; return what is wrong."""
    try:
        manifest = view.manifest
        refuse_marked_keys({key: view.document[key] for key in ("config", "checkpoints", "metrics", "provenance")})
        refuse_marked_keys(manifest, "manifest")
        for kind in ("structures", "references"):
            if sorted(set(manifest[kind])) != manifest[kind]:
                return f"the {kind} of its manifest are not sorted, or one is there twice"
        if not set(manifest["labels"].values()) <= set(SPLITS):
            return f"its manifest has labels in other splits than {', '.join(SPLITS)}"
        counts = view.document["counts"]
        found = {"entries": len(manifest["structures"]), **{kind: len(manifest[kind]) for kind in ("references", "labels")}}
        if any(counts.get(name) != number for name, number in found.items()):
            return f"its counts are {counts}, its manifest has {found}"
    except damage as err:
        return f"its document or its manifest cannot be used: {err}"
    return ""


def check_documents(
    view: StateView, kind: Kind, ids: Sequence[str], damage: Damage, said: dict[str, Said] | None = None
) -> Iterator[str]:
    """Read documents of a state and recompute their content ids; yield what is wrong, at most one message.

    Of labels ``said`` gets what :func:`coevo.node_store.standing_labels.energies_said` has of them.
    """
    damaged: dict[str, str] = {}
    iterator = iter(ids)
    while batch := list(islice(iterator, BATCH)):
        try:
            problems = {line.id: _content_problem(kind, line, said) for line in view.lines(kind, batch)}
        except damage:
            problems = {identifier: _one_problem(view, kind, identifier, damage, said) for identifier in batch}
        damaged |= {identifier: problem for identifier, problem in problems.items() if problem}
    if damaged:
        names = ", ".join(list(damaged)[:SHOWN]) + (", …" if len(damaged) > SHOWN else "")
        yield f"{len(damaged)} of its {kind} are damaged or missing ({names}): {next(iter(damaged.values()))}"


def _one_problem(view: StateView, kind: Kind, identifier: str, damage: Damage, said: dict[str, Said] | None) -> str:
    try:
        (line,) = view.lines(kind, [identifier])
        return _content_problem(kind, line, said)
    except damage as err:
        return str(err) or type(err).__name__


def _content_problem(kind: Kind, line: Line, said: dict[str, Said] | None) -> str:
    document = read_plain(line.text)
    if kind == "labels" and said is not None:
        said |= energies_said([document])
    if document["_id"] != line.id:
        return f"the document of {line.id} is that of {document['_id']}"
    content = label_id(document) if kind == "labels" else structure_text_id(cut_out(document, line.text, "structure")[1])
    if content != line.id:
        return f"the content id of {line.id} is {content}"
    if kind == "labels" and document.get("structure") and structure_document_id(document["structure"]) != document["frame"]:
        return f"the geometry of label {content} is not that of its frame {document['frame']}"
    try:
        refuse_marked_text(line.text, document, ["structure"])
    except ValueError as err:
        return f"{kind[:-1]} {line.id}: {err}"
    return ""


def check_evaluations(view: StateView, said: Mapping[str, Said]) -> Iterator[str]:
    """Recompute the digest of all evaluations and their derived fields; yield what is wrong.

    Parameters
    ----------
    view : StateView
    said : mapping of str to tuple
        Of its labels (:func:`coevo.node_store.standing_labels.energies_said`), by which entries are confirmed and refuted.
    """
    expected = view.document["evaluations"]
    hasher = EvaluationsDigest()
    members = {"entry": view.manifest["structures"], "reference": view.manifest["references"]}
    found: dict[str, list[str]] = {kind: [] for kind in members}
    references: list[bytes] = []  # they come after the entries in the digest, and are few
    refuted: dict[str, float] = {}
    judged: dict[str, str] = {}
    strangers = 0
    for split in view.split_evaluations():
        evaluation = read_plain(split.text)
        kind = evaluation["kind"]
        try:
            refuse_marked_text(split.text, evaluation)  # its geometry is apart
            if split.geometry is not None:
                refuse_marked_geometry(split.geometry)
        except ValueError as err:
            yield f"evaluation {split.id}: {err}"
            return
        if kind not in found:
            strangers += 1
            continue
        refuted |= refuted_energy(evaluation)
        judged |= judged_entry(evaluation)
        if problem := _claims_problem(split.id, evaluation, view.document["metrics"]):
            yield problem
            return
        found[kind].append(evaluation["structure_id"])
        text = joined_text(split._replace(text=without_fields(evaluation, split.text, DERIVED_EVALUATION_FIELDS)))
        if kind == "entry":
            hasher.add_text(text)
        else:
            references.append(text)
    for text in references:
        hasher.add_text(text)
    for kind, wanted in members.items():
        if found[kind] != wanted:
            yield f"its evaluations of kind {kind} are not those of the {_COLLECTIONS[kind]} of its manifest"
    yield from _compare_standing(refuted, judged, view, said)
    if strangers:
        yield f"{strangers} of its evaluations are of no known kind"
    summary = {"digest": hasher.hexdigest(), "count": hasher.count}
    if summary != expected:
        yield f"its evaluations are not those that were written: found {summary}, expected {expected}"


def _claims_problem(identifier: str, evaluation: dict[str, Any], metrics: Mapping[str, Any]) -> str:
    if with_derived_fields(evaluation) != evaluation:
        return f"the evaluation of {identifier} has derived fields that do not follow from its formula"
    claim = untrue_claim(evaluation, metrics)
    return f"evaluation {identifier}: {claim}" if claim else ""


def _compare_standing(
    refuted: dict[str, float], judged: dict[str, str], view: StateView, said: Mapping[str, Said]
) -> Iterator[str]:
    if refuted != view.manifest.get("refuted", {}):
        yield "what labels refuted by its evaluations is not what its manifest says"
    if problem := without_label(judged, view.manifest, said):
        yield problem


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
