"""Whether, how far and when a notebook was executed, read from the notebook itself."""

from nbformat import NotebookNode


def completed(notebook: NotebookNode) -> bool:
    """Whether every cell was really executed. Papermill also marks cells as completed after their kernel died."""
    about = notebook.metadata.get("papermill", {})
    return bool(about.get("end_time")) and about.get("exception") is not True and _first_unexecuted(notebook) is None


def _first_unexecuted(notebook: NotebookNode) -> int | None:
    """The number (from 1) of the first code cell that the kernel never answered; None if it answered all."""
    for number, cell in enumerate(_code(notebook), start=1):
        is_skipped = "skip-execution" in cell.metadata.get("tags", [])
        if cell.source.strip() and not is_skipped and "shell.execute_reply" not in cell.metadata.get("execution", {}):
            return number
    return None


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def diagnose(notebook: NotebookNode) -> str | None:
    """Why a notebook did not finish, in one sentence; None if it finished or if papermill did not execute it."""
    code = _code(notebook)
    for number, cell in enumerate(code, start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                message = " ".join(output.evalue.split())
                return f"This notebook stopped in code cell {number} of {len(code)}: {output.ename}: {message}"
    if "papermill" in notebook.metadata and not completed(notebook):
        number = _first_unexecuted(notebook) or len(code)
        return f"This notebook did not finish: in code cell {number} of {len(code)} the kernel died or was stopped, or time ran out."
    return None


def execution_rows(notebook: NotebookNode) -> dict[str, str]:
    """Papermill's notes on the execution, for the page of a notebook that belongs to no run."""
    about, language = (notebook.metadata.get(name, {}) for name in ("papermill", "language_info"))
    rows = {
        "Executed": about.get("start_time", "not recorded"),
        "Duration": "" if about.get("duration") is None else f"{about['duration']:.0f} s",
        "Parameters": ", ".join(f"{name} {value}" for name, value in about.get("parameters", {}).items()),
        "Language": f"{language.get('name', '')} {language['version']}" if language.get("version") else "",
        "Papermill": about.get("version"),
    }
    return {title: text for title, text in rows.items() if text}
