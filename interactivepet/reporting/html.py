"""Web pages from the templates of this package; each page needs no other file, and a script only to turn a picture."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["NOTICE", "render_page"]

NOTICE = "Research software, not a medical device."


def render_page(template: str, *, title: str, **values: object) -> str:
    """Render `templates/TEMPLATE.html.j2`.

    Args:
        template: name of the page's template.
        title: of the page, for the browser and for the template.
        values: what the template shows; text is escaped, and a name that is missing here is an error.

    Returns:
        The page's text.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    page = _open_templates().get_template(f"{template}.html.j2")
    return page.render(title=title, notice=NOTICE, **values)


@cache
def _open_templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("interactivepet.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["base64"] = lambda data: b64encode(data).decode()
    templates.filters["fixed"] = _write_fixed
    return templates


def _write_fixed(value: float | None, digits: int, missing: str = "-") -> str:
    """Write a number with so many digits after the point, and `missing` for none."""
    return missing if value is None else f"{value:.{digits}f}"
