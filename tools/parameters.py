"""Write the parameter cells of notebooks and the tables of docs/ from the run parameters and the figures.

``python -m crack_utils parameters`` runs this program.
"""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import nbformat

from crack_utils.config import RunParameters, plain
from crack_utils.errors import UserError
from crack_utils.scoring import figures_markdown
from crack_utils.store import REPOSITORY

RUN_NAME = "run_name: str = None  # folder under runs for the results; default: the data set and a hash of the parameters"


def generated_texts(root: Path = REPOSITORY, parameters: type = RunParameters) -> dict[Path, str]:
    """The whole text of each file with a generated part, as it should be.

    Raises:
        UserError: a page of docs/ does not say where its table belongs.
    """
    fields = dataclasses.fields(parameters)
    data_fields = [field for field in fields if field.default.json_schema_extra["is_data"]]
    notebooks, docs = root / "notebooks", root / "docs"
    return {
        notebooks / "explore.ipynb": _with_parameters(notebooks / "explore.ipynb", map(_line, data_fields)),
        notebooks / "train.ipynb": _with_parameters(notebooks / "train.ipynb", [*map(_line, fields), RUN_NAME]),
        docs / "parameters.md": _with_table(docs / "parameters.md", "parameters", _table(fields)),
        docs / "figures.md": _with_table(docs / "figures.md", "figures", figures_markdown()),
    }


def write_texts(root: Path = REPOSITORY, parameters: type = RunParameters) -> list[Path]:
    """Write the generated texts. Returns the files that changed."""
    changed = {path: text for path, text in generated_texts(root, parameters).items() if path.read_text(encoding="utf-8") != text}
    for path, text in changed.items():
        path.write_text(text, encoding="utf-8")
    return list(changed)


def _line(field: dataclasses.Field) -> str:
    """A parameter in a notebook. Papermill shows the comment as the parameter's help."""
    default = field.default.default
    literal = json.dumps(default, ensure_ascii=False) if isinstance(default, str) else repr(default)
    return f"{field.name}: {_type_name(field.type)} = {literal}  # {field.default.description}"


def _type_name(annotation: Any) -> str:
    """The one type that papermill shows: the first of several types, or the type of the first allowed value."""
    first = (get_args(annotation) or (annotation,))[0]
    return (first if isinstance(first, type) else type(first)).__name__


def _table(fields: Iterable[dataclasses.Field]) -> str:
    rows = [f"| `{field.name}` | {plain(field.default.default)} | {field.default.description} |" for field in fields]
    return "\n".join(["| parameter | default | meaning |", "|---|---|---|", *rows])


def _with_parameters(path: Path, lines: Iterable[str]) -> str:
    """The notebook's text with these lines in its cell tagged ``parameters``."""
    notebook = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source = "\n".join(lines)
    return nbformat.writes(notebook) + "\n"


def _with_table(path: Path, name: str, table: str) -> str:
    """The page's text with this table between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    text = path.read_text(encoding="utf-8")
    before, has_begin, rest = text.partition(begin)
    _, has_end, after = rest.partition(end)
    if not (has_begin and has_end):
        raise UserError(f"{path} has no lines <!-- {name} --> and <!-- /{name} -->; add the two lines where the table belongs")
    return f"{before}{begin}{table}\n{end}{after}"


if __name__ == "__main__":
    print("\n".join(f"Changed: {path}" for path in write_texts()) or "Nothing changed.")
