"""Train a run."""

from crack_utils.config import RunParameters
from crack_utils.data import data_facts, find_data
from crack_utils.errors import ParameterError
from crack_utils.networks import hardware, resolve_device
from crack_utils.store import Run, check_record_run, claimed, forget_results, recorded, sample_folder
from crack_utils.training.log import Watcher
from crack_utils.training.loop import Training
from crack_utils.training.step import Parts


def train_run(
    params: RunParameters, run_name: str | None = None, overwrite: bool = False, watcher: Watcher | None = None, parts: Parts | None = None
) -> Run:
    """Train a run, go on where its training stopped, or leave a finished training as it is.

    The run's name is its folder under ``runs/``; default ``DATASET-<hash of the parameters>``. ``overwrite`` drops a training with other
    parameters in this folder. After a ``watcher`` stopped the training, the run's ``is_trained`` is false.

    Raises:
        ParameterError: the folder holds a training with other parameters, or the machine has no such device.
        DataError: the data cannot be used.
    """
    run = claim_run(params, run_name, overwrite)
    is_same = run.params.exists and not run.params.load().differences(params)
    if run.is_trained and is_same:
        print(f"Run {run.name} has finished training before. The training is shown, not repeated.")
        return run
    device = resolve_device(params.device)
    machine, data = hardware(device), find_data(params, sample_folder())
    facts = data_facts(data)  # decodes every image, so that unusable data stops the run before any work is done
    height, width = data.input_size
    negatives = any(facts["counts"][split]["negatives"] for split in ("val", "test"))
    resolved = {"device": str(device), "input_height": height, "input_width": width, "evaluate_negatives": negatives}
    with claimed(run):
        if not (is_same and run.checkpoint.exists):
            forget_results(run)
        run.params.save(params, resolved, facts)
        with recorded(run, "training", machine):
            Training(run, params, data, device, watcher or Watcher(), parts or Parts()).fit()
    return run


def claim_run(params: RunParameters, run_name: str | None, overwrite: bool = False) -> Run:
    """The run's folder, if these parameters may use it (see :func:`train_run`)."""
    check_record_run(params.record_run)
    run = Run(run_name or f"{params.dataset}-{params.fingerprint()}")
    changed = run.params.load().differences(params) if run.params.exists else {}
    if changed and not overwrite:
        listed = ", ".join(f"{name} {old!r} there, {new!r} now" for name, (old, new) in changed.items())
        advice = f"choose another run_name, or remove {run.folder} (the command line has --overwrite)"
        raise ParameterError(f"run {run.name} holds a training with other parameters ({listed}); {advice}")
    return run
