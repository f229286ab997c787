"""coevo: a stateful, model-integrated database of crystalline materials.

One node covers one chemical system; its state joins curated structures, first-principles labels, the crystal generator and the
force field, and each iteration of the loop commits a new state (Xie et al., arXiv:2511.12420).

For notebooks: ``coevo.open("li-p-s").state("main~1")`` (docs/python.md). What it needs is imported when it is asked for.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for true; typing itself need not be loaded
if TYPE_CHECKING:
    from typing import Any

    from coevo.notebooks.nodes import Node
    from coevo.notebooks.nodes import open_node as open  # noqa: A004 - as gzip.open and fsspec.open
    from coevo.notebooks.states import State
    from coevo.notebooks.transitions import transition_flow

__version__ = "0.1.0"
__all__ = ["Node", "State", "__version__", "open", "transition_flow"]

_PLACES = {
    "Node": "coevo.notebooks.nodes:Node",
    "State": "coevo.notebooks.states:State",
    "open": "coevo.notebooks.nodes:open_node",
    "transition_flow": "coevo.notebooks.transitions:transition_flow",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
