"""Whether a run and its data are still those that it began with."""

import dataclasses
from typing import Any

from crack_utils.config import UNIDENTIFYING, RunParameters, check_names, parse_parameters
from crack_utils.errors import DataError
from crack_utils.store.run import Run
from crack_utils.store.status import held

LIST = "former_data"  # the key, among the facts of the data, of earlier fingerprints


def is_of_other_data(run: Run, fingerprint: dict[str, Any]) -> bool:
    """Whether the files of the data set differ from those that the run began with. Runs of earlier versions may not know their files."""
    kept = run.params.facts().get("fingerprint")
    return bool(kept) and kept["sha256"] != fingerprint["sha256"]


def check_data(run: Run, params: RunParameters, fingerprint: dict[str, Any]) -> None:
    """Raise DataError if the files of the data set have changed since the run began, unless the parameters accept this."""
    if is_of_other_data(run, fingerprint) and not params.changed_data:
        kept = run.params.facts()["fingerprint"]
        raise DataError(
            f"the files of the data set are not those that run {run.name} began with ({_words(kept)} then, {_words(fingerprint)} now); "
            f"bring the files back, or choose another run_name, or start over with --overwrite, or set changed_data to True to go on"
        )


def with_former_data(run: Run, facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of the data whose files differ from those that the run began with. They name the earlier files, and a note says so."""
    before = run.params.facts()
    former = [*before.get(LIST, []), *([before["fingerprint"]] if is_of_other_data(run, facts["fingerprint"]) else [])]
    if not former:
        return facts
    words = ", then ".join(map(_words, [*former, facts["fingerprint"]]))
    note = f"The files of the data set changed during this run (changed_data): {words}."
    return {**facts, LIST: former, "notes": [*(text for text in facts["notes"] if "(changed_data)" not in text), note]}


def update_parameters(run: Run, params: RunParameters) -> None:
    """Take over the parameters that do not change the result, such as ``mm_per_px``, for a finished training."""
    if run.is_evaluated:  # nothing is left that could go on with other data
        params = dataclasses.replace(params, changed_data=run.params.load().changed_data)
    if run.params.would_change(params):
        with held(run, "training"):
            if run.is_trained and not run.params.load().differences(params):
                run.params.update(params)


def override(run: Run, values: dict[str, Any]) -> None:
    """Set parameters that do not change the result. Raise ParameterError for any other parameter, and for a wrong value."""
    check_names(values, UNIDENTIFYING, "parameter to override:")
    update_parameters(run, parse_parameters(run.params.load().as_dict() | values))


def _words(fingerprint: dict[str, Any]) -> str:
    return f"{fingerprint['files']} files with hash {fingerprint['sha256'][:8]}"
