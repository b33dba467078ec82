"""HTML from templates: everything is escaped, and nothing runs that is not a file of ours."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import HTMLResponse
from markupsafe import Markup

from transship import __version__
from transship.store.durations import rough_duration
from transship.store.errors import TransshipError, named_apart
from transship.store.sizes import human_bytes
from transship.store.text import escaped

if TYPE_CHECKING:
    from jinja2 import Environment

HERE: Final = Path(__file__).resolve().parent  # `src` has a link to it
_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types htmx"
)
# The script that shows the API does not know of trusted types, and sends no form.
DOCS_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@cache
def _environment() -> Environment:
    # A fortieth of a second, which commands that bring an engine would pay for nothing.
    import jinja2  # noqa: PLC0415

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "bytes": human_bytes,
        "duration": rough_duration,
        "number": lambda value: f"{value:,}",
        "plain": escaped,
        "time": _time,
    }
    made.filters |= filters
    made.globals["named_apart"] = named_apart
    made.globals["version"] = __version__
    return made


def section(name: str, values: Mapping[str, Any]) -> str:
    """The inner HTML of a part of a page."""
    return _environment().get_template(f"sections/{name}.html").render(values)


def page(
    name: str, values: Mapping[str, Any], status: int = 200, policy: str = _POLICY
) -> HTMLResponse:
    """A whole page, which may do what *policy* allows."""
    nonce = secrets.token_urlsafe(16)
    html = _environment().get_template(f"{name}.html").render({**values, "nonce": nonce})
    return HTMLResponse(
        html,
        status,
        {
            "Content-Security-Policy": policy.format(nonce=nonce),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        },
    )


def error_page(error: TransshipError, status: int) -> HTMLResponse:
    """A page that tells of *error*, and knows nothing of whoever asked."""
    return page("error", {"error": error.as_json(), "login": None, "note": ""}, status)


def _time(moment: str | float | None) -> Markup:
    """A time as RFC 3339 or seconds, which a script shows as the reader's own."""
    if moment is None:
        return Markup("&ndash;")
    at = (
        datetime.fromisoformat(moment)
        if isinstance(moment, str)
        else datetime.fromtimestamp(moment, UTC)
    )
    iso = at.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}">{}</time>').format(iso, f"{at:%Y-%m-%d %H:%M:%S} UTC")
