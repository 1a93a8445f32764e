"""Small trained and evaluated runs, for tests of comparisons."""

from conftest import TINY, small_params, write_dataset

from crack_utils.evaluation import evaluate_run
from crack_utils.training import train_run


def trained(root, name, **values):
    """A trained and evaluated run of the tiny network."""
    run = train_run(small_params(root, **{"hard_negative_mining": 0, **values}), name, parts=TINY)
    evaluate_run(run, build_model=TINY.build_model)
    return run


def four_runs(folder):
    """Two learning rates with two seeds each, on the same data."""
    root = write_dataset(folder / "d")
    return [trained(root, f"trial/rate{rate}_seed{seed}", learning_rate=rate, seed=seed) for rate in (0.001, 0.05) for seed in (0, 1)]
