"""Train a run."""

from typing import Any

import torch

from crack_utils.config import RunParameters
from crack_utils.data import find_data, fingerprint
from crack_utils.errors import DataError, Interrupted, ParameterError
from crack_utils.networks import computing, resolve_precision
from crack_utils.store import (
    Run,
    check_data,
    check_record_run,
    claimed,
    computed_in,
    forget_results,
    image_cache,
    is_of_other_data,
    recorded,
    refuse_claimed,
    sample_folder,
    trained_with,
    update_parameters,
    with_former_data,
)
from crack_utils.training.log import Watcher
from crack_utils.training.loop import Training
from crack_utils.training.processes import Team, find_place, help_launched
from crack_utils.training.signals import StopSignals
from crack_utils.training.step import Parts


def train_run(
    params: RunParameters, run_name: str | None = None, overwrite: bool = False, watcher: Watcher | None = None, parts: Parts | None = None
) -> Run:
    """Train a run, go on where its training stopped, or leave a finished training as it is.

    The run's name is its folder under ``runs/``; default ``DATASET-<hash of parameters and data>``. ``overwrite`` drops a training with
    other parameters or of other data in this folder. After a ``watcher`` stopped the training, the run's ``is_trained`` is false.
    ``processes`` of the parameters, or torchrun, let several processes train together. Only the first of them uses the run's folder.

    Raises:
        ParameterError: the folder holds a training with other parameters, or the machine has no such device.
        DataError: the data cannot be used, or the folder holds a training of other data.
        Interrupted: SIGINT or SIGTERM stopped the training. The same run goes on from there.
    """
    run, place = claim_run(params, run_name, overwrite), find_place(params)
    if place.rank:
        help_launched(params, parts or Parts(), place)
        return run
    with Team(params, place, parts) as team:
        if run.is_trained and _is_kept(run, params, overwrite, present_fingerprint(params)):
            update_parameters(run, params)
            print(f"Run {run.name} has finished training before. The training is shown, not repeated.")
        else:
            _train(run, params, overwrite, watcher or Watcher(), parts or Parts(), team)
    return run


def _train(run: Run, params: RunParameters, overwrite: bool, watcher: Watcher, parts: Parts, team: Team) -> None:
    """Train a run that is not kept as it is."""
    refuse_claimed(run, "training")
    threads, began_in = (trained_with(run), _began_in(run, params)) if run.checkpoint.exists else (None, None)
    device, signals = team.place.device(params), StopSignals()
    precision = began_in or resolve_precision(params.precision, device)
    with computing(device, threads, precision, team.place.local_count) as machine:
        data = find_data(params, sample_folder(), image_cache())
        facts = parts.facts(data)  # decodes every image: unusable data stop the run before any work is done
        try:
            with signals, claimed(run, "training"):  # a second signal does not disturb what the run notes about its end
                if facts := _prepared(run, params, overwrite, facts):
                    ranks = team.start(run.name, device, precision)
                    training = Training(run, params, data, device, watcher, parts, signals, ranks, precision)  # refuses other images
                    run.params.save(params, _resolved(facts, device) | {"precision": precision}, facts)
                    with recorded(run, "training", machine | ranks.about):
                        training.fit()
        except Interrupted as stop:
            if stop.signal:
                raise
    if signals.number and run.is_trained:
        raise Interrupted("the training has finished", signals.number)


def _prepared(run: Run, params: RunParameters, overwrite: bool, facts: dict[str, Any]) -> dict[str, Any] | None:
    """Prepare the run's folder. Returns the facts of the data; None if another process finished the run while this one read the data."""
    claim_run(params, run.name, overwrite)
    is_kept = _is_kept(run, params, overwrite, facts["fingerprint"])
    if run.is_trained and is_kept:
        return None
    if run.checkpoint.exists and is_kept:
        return with_former_data(run, facts)
    forget_results(run)
    return facts


def _began_in(run: Run, params: RunParameters) -> str | None:
    """The precision in which the training began, and goes on; None if other parameters replace the training."""
    return None if run.params.load().differences(params) else computed_in(run)


def _resolved(facts: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """The values used instead of defaults."""
    negatives = any(facts["counts"][split]["negatives"] for split in ("val", "test"))
    return {"device": str(device), **{name: facts[name] for name in ("input_height", "input_width")}, "evaluate_negatives": negatives}


def claim_run(params: RunParameters, run_name: str | None, overwrite: bool = False) -> Run:
    """The run's folder, if these parameters may use it (see :func:`train_run`)."""
    check_record_run(params.record_run)
    run = Run(run_name or _name(params))
    changed = run.params.load().differences(params) if run.params.exists else {}
    if changed and not overwrite:
        listed = ", ".join(f"{name} {old!r} there, {new!r} now" for name, (old, new) in changed.items())
        advice = f"choose another run_name, or remove {run.folder} (the command line has --overwrite)"
        if "epochs" in changed:
            advice += "; a run with more epochs is another run, because the weights of the losses depend on the number of epochs"
        raise ParameterError(f"run {run.name} holds a training with other parameters ({listed}); {advice}")
    return run


def _name(params: RunParameters) -> str:
    """The name of a run without a given name: equal parameters and equal data have equal names, wherever the data lie."""
    sha256 = fingerprint(find_data(params, sample_folder(), image_cache()))["sha256"] if params.data_root else None
    return f"{params.dataset}-{params.fingerprint(sha256)}"


def _is_kept(run: Run, params: RunParameters, overwrite: bool, present: dict[str, Any] | None) -> bool:
    """Whether the training in the run's folder is the one that is asked for. Raise DataError if the files of its data have changed."""
    if not run.params.exists or run.params.load().differences(params):
        return False  # and overwrite: claim_run refuses other parameters
    if present is None or not is_of_other_data(run, present):
        return True
    if not overwrite:
        check_data(run, params, present)
        if run.is_trained:
            print("Note: the files of the data set have changed since this training. The training is that of the former files.")
    return not overwrite


def present_fingerprint(params: RunParameters) -> dict[str, Any] | None:
    """The fingerprint of the data as they are now; None for the embedded sample, and for data that cannot be found."""
    try:
        return fingerprint(find_data(params, sample_folder(), image_cache())) if params.data_root else None
    except DataError as error:
        print(f"Note: the data were not compared with those of the run, because they cannot be read: {error}")
        return None
