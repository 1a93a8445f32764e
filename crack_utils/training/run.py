"""Train a run."""

from crack_utils.config.parameters import RunParameters
from crack_utils.data.run_data import RunData
from crack_utils.errors import ParameterError
from crack_utils.networks.devices import resolve_device
from crack_utils.store.places import sample_folder
from crack_utils.store.provenance import recorded
from crack_utils.store.record import check_record_run
from crack_utils.store.run import Run
from crack_utils.training.loop import Training
from crack_utils.training.watcher import Watcher


def train_run(params: RunParameters, run_name: str | None = None, overwrite: bool = False, watcher: Watcher | None = None) -> Run:
    """Train, go on where a training stopped, or leave a finished one as it is.

    Args:
        params: the run's parameters.
        run_name: folder under ``runs/``; default ``DATASET-<hash of the parameters>``.
        overwrite: drop what the folder holds of a training with other parameters.
        watcher: is told how the training goes and may stop it; ``is_trained`` says of the run that comes back whether it did.

    Raises:
        ParameterError: the folder holds a training with other parameters, or the device is not there.
        DataError: the data cannot be used.
    """
    run = claim_run(params, run_name, overwrite)
    is_same = run.path("params.json").is_file() and not run.load_params().differences(params)
    if run.is_trained and is_same:
        print(f"Run {run.name} has finished training before; it is shown, not repeated.")
        return run
    device = resolve_device(params.device)
    data = RunData(params, sample_folder())
    facts = data.facts  # decodes every image: what is wrong with the data shows before any work is done
    resolved = {
        "device": str(device),
        "input_height": data.input_size[0],
        "input_width": data.input_size[1],
        "evaluate_negatives": any(facts["counts"][split]["negatives"] for split in ("val", "test")),
    }
    with run.claimed():
        if not (is_same and run.path("checkpoint.pt").is_file()):
            run.forget_results()
        run.save_params(params, resolved, facts)
        with recorded(run, "training", device):
            Training(run, params, data, device, watcher).fit()
    return run


def claim_run(params: RunParameters, run_name: str | None, overwrite: bool = False) -> Run:
    """The run's folder, if these parameters may use it (see :func:`train_run`)."""
    check_record_run(params.record_run)
    run = Run(run_name or f"{params.dataset}-{params.fingerprint()}")
    if run.path("params.json").is_file():
        changed = run.load_params().differences(params)
        if changed and not overwrite:
            listed = ", ".join(f"{name} {old!r} there, {new!r} now" for name, (old, new) in changed.items())
            raise ParameterError(
                f"run {run.name} holds a training with other parameters ({listed}); "
                f"choose another run_name, or remove {run.folder} (the command line has --overwrite)"
            )
    return run
