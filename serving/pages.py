"""Pages of one HTML file that needs nothing else."""

from pathlib import Path
from typing import Any

import jinja2

from torchtowers.serving.errors import ServingError

__all__ = ["write_page"]


def write_page(path: str | Path, template: str, **content: Any) -> None:
    """Fill in a template of this package, and write the page.

    Raises:
        ServingError: The file can't be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("torchtowers.serving", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    text = environment.get_template(template).render(**content)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ServingError(f"{path}: the picture can't be written: {error.strerror or error}") from None
