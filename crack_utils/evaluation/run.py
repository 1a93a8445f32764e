"""Evaluate a run: from a trained network to predictions, from predictions to figures."""

from collections.abc import Callable
from typing import Any

import torch

from crack_utils.config import RunParameters
from crack_utils.data import find_data
from crack_utils.errors import ParameterError, UserError
from crack_utils.evaluation.score import score_run
from crack_utils.networks import build_model, hardware, predict, resolve_device
from crack_utils.store import Run, claimed, find_run, recorded, sample_folder


def evaluate_run(run: Run, build_model: Callable = build_model, predict: Callable = predict) -> dict[str, Any]:
    """Evaluate a trained run. Val gives the thresholds, test gives the figures. Stores predictions, scores, curves and metrics.

    A finished evaluation is returned as it is, so test is read only once.

    Args:
        build_model: makes the network.
        predict: predicts the images of a split.

    Returns:
        The contents of metrics.json.

    Raises:
        MissingRun: the run has not finished training.
    """
    if run.is_evaluated:
        results = run.metrics.load()
        if "failures" not in results:
            raise UserError(f"run {run.name} was evaluated by an earlier version; remove {run.metrics.path} to evaluate the run again")
        return results
    find_run(run.name)  # raises if the run has not finished training
    with claimed(run):
        params = run.params.load()
        device = _device_of(run, params)
        model = build_model(params, fresh=False)
        with recorded(run, "evaluation", hardware(device)):
            run.model.load_into(model)
            data = find_data(params, sample_folder())
            for split in (params.choosing_split, "test"):
                data.split(split)  # decoded first, so that unusable data stops the evaluation before any work is done
            model.to(device)
            return score_run(run, data, lambda split: predict(model, data.split(split), device, params.batch_size, params.num_workers))


def _device_of(run: Run, params: RunParameters) -> torch.device:
    """The device that the parameters name. A run that was trained on another machine may name a device that this machine lacks."""
    try:
        return resolve_device(params.device)
    except ParameterError as error:
        device = resolve_device("auto")
        run.log.add(f"Note: {error}. Evaluating on {device}.")
        return device
