"""The command line: ``python -m crack_utils run runs/sample.yaml``."""

import argparse
import sys
from pathlib import Path
from typing import Any

from crack_utils import artifacts
from crack_utils.artifacts import Run
from crack_utils.config import RunParameters, check_run_name, parse_parameters, read_yaml, resolve_folders
from crack_utils.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the last validated epoch", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m crack_utils", description="Train a crack-segmentation network and report on it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, help in (
        ("run", run, "execute explore, train, evaluate, visualize and report; render the pages"),
        ("train", train, "train without Jupyter"),
    ):
        sub = commands.add_parser(name, help=help)
        sub.set_defaults(command=command)
        sub.add_argument("configuration", help="a YAML file such as runs/sample.yaml")
        pair = {"nargs": 2, "metavar": ("NAME", "VALUE")}
        sub.add_argument("-p", **pair, action="append", default=[], dest="overrides", help="override a parameter")
        sub.add_argument("--overwrite", action="store_true", help="drop a training with other parameters of the same run name")
    for name, command, help in (
        ("evaluate", evaluate, "evaluate a trained run without Jupyter"),
        ("render", render, "rebuild the pages of a trained run from its artifacts"),
    ):
        sub = commands.add_parser(name, help=help)
        sub.set_defaults(command=command)
        sub.add_argument("name", help="the run's name, such as sample")
    return parser


def configuration(path: str, overrides: list[list[str]] | None = None) -> tuple[str, RunParameters]:
    """A run's name and parameters from its YAML file and ``-p`` overrides.

    The name is the file's path under ``runs/`` without suffix (elsewhere: the file's name), unless ``run_name`` is overridden.
    Relative folders count from the repository in the file, from the current folder in an override.
    """
    values = resolve_folders(read_yaml(Path(path)), base=artifacts.home())
    given: dict[str, Any] = {name: None if value in ("None", "null") else value for name, value in overrides or []}
    file = Path(path).resolve().with_suffix("")
    homes = [folder for folder in ((artifacts.home() / "runs").resolve(), artifacts.REPOSITORY / "runs") if file.is_relative_to(folder)]
    name = given.pop("run_name", file.relative_to(homes[0]).as_posix() if homes else file.name)
    return check_run_name(name), parse_parameters(values | resolve_folders(given))


def train(options: argparse.Namespace) -> Run:
    from crack_utils.training import train_run

    name, params = configuration(options.configuration, options.overrides)
    return train_run(params, name, options.overwrite)


def evaluate(options: argparse.Namespace) -> None:
    from crack_utils.evaluation import evaluate_run

    run = artifacts.find_run(options.name)
    if run.is_evaluated:
        print(f"Run {run.name} was evaluated before; test is read once.")
    evaluate_run(run)
    _print_headline(run)


def run(options: argparse.Namespace) -> None:
    from crack_utils.evaluation import resolve_device
    from crack_utils.reporting import runner
    from crack_utils.training import claim_run, train_run

    name, params = configuration(options.configuration, options.overrides)
    claimed = claim_run(params, name, options.overwrite)
    if not claimed.is_trained:
        resolve_device(params.device)
    if options.overwrite:
        train_run(params, name, overwrite=True)  # the notebook does not replace a training, it shows this one
    _execute_and_render(runner, params, claimed)


def render(options: argparse.Namespace) -> None:
    from crack_utils.reporting import runner

    found = artifacts.find_run(options.name)
    _execute_and_render(runner, found.load_params(), found, only_missing=True)


def _execute_and_render(runner: Any, params: RunParameters, run: Run, only_missing: bool = False) -> None:
    runner.execute_all(params, run, only_missing)
    page = runner.render(run)
    _print_headline(run)
    print(f"Report: {page}")


def _print_headline(run: Run) -> None:
    metrics = run.load_metrics()
    print("2 pixel distance: precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}".format(**metrics["segmentation_2px"]))
    print("Decision: precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}, accuracy {accuracy:.4f}".format(**metrics["decision"]))


if __name__ == "__main__":
    sys.exit(main())
