"""Work in forked children, which may be killed; what was imported once is there in all of them."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Run something in a forked process; return its exit code (negative: the signal that killed it) and its result as JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            result = json.dumps(work())
            with os.fdopen(writing, "w") as pipe:
                pipe.write(result)
            code = 0
        except BaseException:  # noqa: BLE001 - a child never returns into its parent's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(text) if text else None


def must(work: Callable[[], Any]) -> Any:
    """Run something in a child and return its result; an error there is one here."""
    code, result = in_child(work)
    if code:
        raise RuntimeError(f"a child ended with code {code}; its message is on standard error")
    return result
