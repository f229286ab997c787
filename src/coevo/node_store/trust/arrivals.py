"""What came into a node in bundles and is not simply a document: configuration to agree to, and checkpoints that were left out.

A bundle's YAML becomes the live configuration of a new node, and a state's configuration that of a merge or an extension. Values
there that name a path, a program or a package (:mod:`coevo.configs.describing`) are somebody else's word about this machine, so
each is remembered, and nothing acts on it before the user has agreed to exactly that value. What the user writes into the
configuration afterwards is the user's own.

A checkpoint that a thin bundle left out is remembered as well: that it is not here is no damage, until it has been here once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from coevo.configs.describing import local_values, what_it_does
from coevo.configs.loading import parse_config
from coevo.errors import ConfigError
from coevo.node_store.canonical import digest
from coevo.node_store.runs import now

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from coevo.node_store.store import NodeStore

CONFIGURATION = "configuration"
CHECKPOINT = "checkpoint"
LONGEST = 200
"""Characters of a value that an error message shows."""

Values = tuple[str, Any]
"""A dotted key and its value."""


def shown_value(value: Any, longest: int | None = LONGEST) -> str:
    """Write a value from a bundle for people: in ASCII, with everything escaped that could disguise it."""
    text = json.dumps(value, ensure_ascii=True)
    return text if longest is None or len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"


# --- configuration


def _value_id(key: str, value: Any) -> str:
    return digest({"what": CONFIGURATION, "key": key, "value": value})


def note_configuration(store: NodeStore, node: str, values: Iterable[Values], origin: str) -> None:
    """Remember values of a bundle that name something of this machine; those that are known stay as they are.

    Values that the live configuration of the node has already, without a record, are the user's own.
    """
    wanted = {_value_id(key, value): (key, value) for key, value in values}
    if not wanted:
        return
    known = store.backend.arrivals(node)
    own = {_value_id(key, value) for key, value in live_values(store, node).items()}.difference(known)
    for identifier, (key, value) in wanted.items():
        if identifier not in known and identifier not in own:
            document = {"what": CONFIGURATION, "key": key, "value": value, "origin": origin, "agreed": None}
            store.backend.put_arrival(node, identifier, document)


def live_values(store: NodeStore, node: str) -> dict[str, Any]:
    """Values of the live configuration that name something of this machine; none if it is not valid or there is no node."""
    if store.backend.node_document(node) is None:
        return {}
    try:
        config = parse_config(store.backend.read_config_text(node), store.config_source(node))
    except ConfigError:
        return {}
    return local_values(config.model_dump(mode="json"))


def unagreed(store: NodeStore, node: str) -> dict[str, dict[str, Any]]:
    """Records of values that came in bundles and that nobody has agreed to, by their ids."""
    found = store.backend.arrivals(node)
    return {
        identifier: record for identifier, record in found.items() if record["what"] == CONFIGURATION and record["agreed"] is None
    }


def refuse_unagreed(store: NodeStore, node: str, config: Mapping[str, Any]) -> None:
    """Refuse to act on a configuration that holds values from a bundle which the user has not agreed to.

    Parameters
    ----------
    store : NodeStore
    node : str
        With whose states or YAML the values came.
    config : mapping
        Plain data: the live configuration, or one made from a state.

    Raises
    ------
    ConfigError
        With the keys, the values and the command.
    """
    values = local_values(config)
    if not values:
        return
    waiting = unagreed(store, node)
    held = {key: waiting[_value_id(key, value)] for key, value in values.items() if _value_id(key, value) in waiting}
    if held:
        told = "; ".join(f"{key}: {shown_value(record['value'])} ({what_it_does(key)})" for key, record in held.items())
        raise ConfigError(
            f"node {node}: its configuration came in a bundle and names things of this machine that nobody here has agreed to: "
            f"{told}; nothing was run; look at them and agree: coevo trust {node} --configuration; or write your own into "
            f"{store.config_source(node)}"
        )


def agree(store: NodeStore, node: str, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Record that the user has agreed to exactly these values (of :func:`unagreed`)."""
    for identifier, record in records.items():
        store.backend.put_arrival(node, identifier, {**record, "agreed": now()})


# --- checkpoints


def _checkpoint_id(sha256: str) -> str:
    return digest({"what": CHECKPOINT, "sha256": sha256})


def note_omitted(store: NodeStore, node: str, names: Iterable[str], origin: str) -> None:
    """Remember checkpoints that a thin bundle left out and that are not here; those that are known stay as they are."""
    wanted = {_checkpoint_id(sha256): sha256 for sha256 in names}
    known = store.backend.arrivals(node) if wanted else {}
    for identifier, sha256 in wanted.items():
        if identifier not in known:
            document = {"what": CHECKPOINT, "sha256": sha256, "origin": origin, "arrived": None}
            store.backend.put_arrival(node, identifier, document)


def note_arrived(store: NodeStore, names: Collection[str]) -> None:
    """Remember that checkpoints are here now, in every node that lacked them: from now on they can be lost."""
    for node in store.nodes() if names else ():
        for identifier, record in store.backend.arrivals(node).items():
            if record["what"] == CHECKPOINT and record["sha256"] in names and record["arrived"] is None:
                store.backend.put_arrival(node, identifier, {**record, "arrived": now()})


def omitted(store: NodeStore, node: str) -> dict[str, bool]:
    """Checkpoints that a thin bundle left out, and whether they never came."""
    found = store.backend.arrivals(node).values()
    return {record["sha256"]: record["arrived"] is None for record in found if record["what"] == CHECKPOINT}


# --- between nodes


def bring_arrivals(store: NodeStore, source: str, target: str) -> None:
    """Remember of a node what is remembered of another one whose states are brought there; what is known or its own stays."""
    known = store.backend.arrivals(target)
    own = {_value_id(key, value) for key, value in live_values(store, target).items()}
    for identifier, record in store.backend.arrivals(source).items():
        if identifier not in known and identifier not in own:
            store.backend.put_arrival(target, identifier, record)
