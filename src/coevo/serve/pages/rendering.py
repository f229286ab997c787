"""Templates as HTML: every text is escaped, and characters that have no shape of their own are written out."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from coevo.output.plain_text import plain

if TYPE_CHECKING:
    from jinja2 import Environment

    from coevo.node_store.views import StateView

STATIC = "/-/static"
"""No node's name begins with a hyphen, so no node is hidden by it."""


def state_path(node: str, name: str) -> str:
    """Address of the page of a state."""
    return f"/{quote(node, safe='')}/{quote(name, safe='~')}"


def permalink(view: StateView) -> str:
    """Address of a state that means the same for ever."""
    return state_path(view.node, view.id)


def entry_path(view: StateView, identifier: str) -> str:
    """Address of the page of an entry or reference in a state."""
    return f"{permalink(view)}/entries/{quote(identifier, safe='')}"


def with_query(path: str, parameters: dict[str, Any]) -> str:
    """Address with the parameters that are not empty."""
    query = urlencode({key: value for key, value in parameters.items() if value not in (None, "")})
    return f"{path}?{query}" if query else path


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("coevo.serve.pages") / "templates"
    texts = {item.name: item.read_text(encoding="utf-8") for item in folder.iterdir() if item.name.endswith(".j2")}
    environment = Environment(
        loader=DictLoader(texts),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals.update(static=STATIC, permalink=permalink, entry_path=entry_path, state_path=state_path)
    return environment


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def rendered(name: str, /, **values: Any) -> str:
    """Return a page by the name of its template."""
    return _environment().get_template(name).render(**values)


def style() -> str:
    """Return the style sheet: the report's and what the pages have beside it."""
    own = (files("coevo.serve.pages") / "templates" / "serve.css").read_text(encoding="utf-8")
    return files("coevo.report").joinpath("style.css").read_text(encoding="utf-8") + own


def script() -> str:
    """Return the script that shows a structure."""
    return (files("coevo.serve.pages") / "templates" / "show-structure.js").read_text(encoding="utf-8")
