"""SecantusDB's server with a findAndModify that returns what it changed, however many ask at once, as mongod's does.

SecantusDB 0.7.0b3 looks for a document and changes it in two steps: of two who ask in the same moment both may get the document
as it was before either change. FireWorks draws the ids of launches so, and two launches that share one are mixed up.

Run as a script, with SecantusDB's own options, by an interpreter that has it.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def in_turns(handle: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that does what another one does, for one thread at a time."""
    turn = threading.Lock()

    def wait_and_handle(*args: Any, **kwargs: Any) -> Any:
        with turn:
            return handle(*args, **kwargs)

    return wait_and_handle


def main() -> int:
    """Run the server."""
    from secantus import cli, commands

    handlers: dict[str, Callable[..., Any]] = commands._HANDLERS  # noqa: SLF001
    handle = in_turns(handlers["findAndModify"])
    for name in ("findAndModify", "findandmodify"):
        handlers[name] = handle
    return int(cli.main())


if __name__ == "__main__":
    sys.exit(main())
