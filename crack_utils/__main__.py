"""The command line: ``python -m crack_utils run runs/sample.yaml``."""

import argparse
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crack_utils import config, many, store  # a room loads its files when a command first uses them
from crack_utils.errors import Interrupted, UserError

if TYPE_CHECKING:
    from crack_utils.config import RunParameters
    from crack_utils.store import Run


def main(arguments: list[str] | None = None) -> int:
    """Run one command. Returns the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        if config.launched_processes() > 1 and options.command is not train:
            raise UserError("torchrun starts several processes, and only the command train knows how to share its work; leave out torchrun")
        options.command(options)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        goes_on = "; the same command continues from there" if options.command in (run, train, sweep) else ""
        print(f"{stop or 'stopped'}{goes_on}", file=sys.stderr)
        return 128 + (getattr(stop, "signal", 0) or signal.SIGINT)
    return 0


# --- the parser ----------------------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands. Its result has the command's function in ``command``."""
    parser = argparse.ArgumentParser(prog="python -m crack_utils", description="Train a crack-segmentation network and report on it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(command: Callable[[argparse.Namespace], Any], help: str, *shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(command.__name__, help=help, parents=shared)
        added.set_defaults(command=command)
        return added

    configured, member, no_pages, pages, named, overriding = _shared_options()
    add(run, "execute explore, train, evaluate, visualize and report; render the pages", configured, member, no_pages, pages)
    add(train, "train without Jupyter", configured, member)
    added = add(sweep, "run the members of a sweep side by side and compare them on one page", configured, no_pages)
    added.add_argument("--jobs", type=_at_least_1, help="members at a time; default: one for each GPU, or as cores and memory allow")
    added.add_argument("--list", action="store_true", help="only list the members and how far each is")
    add(evaluate, "evaluate a trained run without Jupyter", named, overriding)
    add(render, "render the pages of a trained run again from its files", named, pages)
    added = add(predict, "find the cracks in photos with an evaluated run", named)
    added.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="image files of any size, folders of them, or wildcards")
    added.add_argument("--mm-per-px", help="side of a pixel on the road in mm; default: from a GeoTIFF, or the value of the run, if any")
    added.add_argument("--output", type=Path, default=Path(), help="folder for PHOTO_cracks.png and PHOTO_mask.png; default: this one")
    added = add(compare, "compare evaluated runs on one page")
    added.add_argument("runs", nargs="*", default=["*"], help="names or patterns such as 'trial/*'; default: all")
    added.add_argument("--name", default="compare", help="folder under report/ for the page; default: compare")
    added = add(bench, "measure speed, memory and sizes")
    added.add_argument(
        "what",
        choices=["endurance", "evaluation", "gpu", "inference", "learning", "loading", "photo", "report", "training"],
        help="200 epochs, counts at 180 thresholds, all precisions on a GPU, predictions, trainings beside plain ones, starts, "
        "photos of 400 megapixels, a report of 1124 images, or training steps",
    )
    words = "options of the benchmark; loading, training and inference explain theirs by --help"
    added.add_argument("words", nargs=argparse.REMAINDER, help=words)
    added = add(cache, "list the decoded images that are kept for the next start")
    added.add_argument("--remove", action="store_true", help="remove them; the next start decodes the images again")
    add(parameters, "write parameter cells of notebooks and tables of docs/ from the run parameters and figures")
    return parser


def _shared_options() -> list[argparse.ArgumentParser]:
    """The options that several commands share: of a configuration, of a member, of a command with and without pages, of a run."""
    configured, member, no_pages, pages, named, overriding = shared = [argparse.ArgumentParser(add_help=False) for _ in range(6)]
    configured.add_argument("configuration", help="a YAML file such as runs/sample.yaml")
    pair = {"nargs": 2, "metavar": ("NAME", "VALUE"), "action": "append", "default": [], "dest": "overrides"}
    configured.add_argument("-p", **pair, help="override a parameter")
    overriding.add_argument("-p", **pair, help="override a parameter that does not change the result, such as data_root after a move")
    configured.add_argument("--overwrite", action="store_true", help="drop a training with other parameters and the same run name")
    member.add_argument("--member", help="which run of a sweep")
    no_pages.add_argument("--no-pages", action="store_false", dest="pages", help="only train and evaluate, without Jupyter")
    pages.add_argument("--pdf", action="store_true", help="also print the write-up with this machine's Chromium")
    pages.add_argument("--timeout", type=_at_least_1, metavar="SECONDS", help="time limit of a notebook's cell; default: none")
    named.add_argument("name", help="the run's name, such as sample")
    return shared


def _at_least_1(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"should be a whole number of at least 1, got {text!r}")
    return int(text)


# --- commands: imports inside functions, so that training needs no Jupyter and --help no torch -----------------------


def run(options: argparse.Namespace) -> None:
    from crack_utils.evaluation import evaluate_run

    claimed, params = _claimed(options)
    if options.overwrite or not options.pages:
        train(options)  # with pages, the notebook then shows this training
    if options.pages:
        _execute_and_render(params, claimed, options)
    else:
        evaluate_run(claimed)
        _print_headline(claimed)


def train(options: argparse.Namespace) -> "Run":
    from crack_utils.training import train_run

    run, params = _claimed(options)
    return train_run(params, run.name, options.overwrite)


def _claimed(options: argparse.Namespace) -> "tuple[Run, RunParameters]":
    """The run that a command line names. Quick checks come first."""
    from crack_utils.networks import resolve_device
    from crack_utils.training import claim_run

    member = many.pick_member(options.configuration, options.overrides, options.member)
    run = claim_run(member.params, member.run.name, options.overwrite)
    if not run.is_trained:
        resolve_device(member.params.device)
    return run, member.params


def sweep(options: argparse.Namespace) -> None:
    members = many.read_members(options.configuration, options.overrides)
    if options.list:
        print(many.text_of(many.progress_table(members, {member.label: many.described(member, options.pages) for member in members})))
        return
    page = Path(members[0].run.name).parent.as_posix() if members[0].label else None
    if page:
        _check_page(page)
    n_open = sum(many.state(member, options.pages) != "finished" for member in members)
    environments = many.slots(options.jobs, {member.params.device for member in members}, len(members), max(1, n_open))
    count = f"{len(members)} runs" if page else "One run"
    print(f"{count}, {len(environments)} at a time; the output of each is in output.log in its folder", flush=True)
    command = many.member_command(options.configuration, options.overrides, options.pages, options.overwrite)
    states = many.run_members(members, command, environments, options.pages, many.printer(members))
    print(many.text_of(many.progress_table(members, states)))
    finished = [member.run.name for member in members if states[member.label] == "finished"]
    try:
        if finished and page:
            _compare(finished, page, [label for label, state in states.items() if state != "finished"])
    except ImportError as error:
        print(f"No comparison: this needs Jupyter ({error}). With Jupyter, run python -m crack_utils compare.")
    if len(finished) < len(members):
        raise UserError(f"{len(members) - len(finished)} of {len(members)} runs failed; the same command tries them again")


def evaluate(options: argparse.Namespace) -> None:
    from crack_utils.evaluation import evaluate_run

    run = store.find_run(options.name)
    if options.overrides:
        store.override(run, config.resolve_folders(dict(options.overrides)))
    if run.is_evaluated:
        print(f"Run {run.name} was evaluated before; test is read once.")
    evaluate_run(run)
    _print_headline(run)


def render(options: argparse.Namespace) -> None:
    run = store.find_run(options.name)
    _execute_and_render(run.params.load(), run, options, only_missing=True)


def _execute_and_render(params: "RunParameters", run: "Run", options: argparse.Namespace, only_missing: bool = False) -> None:
    from crack_utils.reporting import runner
    from crack_utils.reporting.pages import print_pdf

    page = runner.execute_and_render(params, run, only_missing, options.timeout)
    _print_headline(run)
    print(f"Report: {page}", flush=True)
    if options.pdf:
        print(f"PDF: {print_pdf(page)}")


def _print_headline(run: "Run") -> None:
    metrics = run.metrics.load()
    print("2 pixel distance: precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}".format(**metrics["segmentation_2px"]))
    print("Decision: precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}, accuracy {accuracy:.4f}".format(**metrics["decision"]))


def predict(options: argparse.Namespace) -> None:
    from crack_utils.evaluation import Predictor
    from crack_utils.reporting.photo import predict_file
    from crack_utils.reporting.photo_files import find_photos, output_names

    run, mm_per_px = store.find_run(options.name), config.parse_parameters({"mm_per_px": options.mm_per_px}).mm_per_px
    predictor = Predictor(run)
    photos, unused = find_photos(options.photos)
    print(*unused, sep="\n", end="\n" if unused else "", flush=True)
    failed = 0
    for photo, name in zip(photos, output_names(photos), strict=True):
        try:
            print(predict_file(predictor, photo, options.output, mm_per_px, name), flush=True)
        except (UserError, OSError) as error:
            if len(photos) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            failed += 1
    if failed:
        raise UserError(f"{failed} of {len(photos)} photos were not predicted; the messages above say why")


def compare(options: argparse.Namespace) -> None:
    _check_page(config.check_run_name(options.name))
    _compare([run.name for run in many.find_runs(options.runs)], options.name)


def _check_page(name: str) -> None:
    if store.Run(name).params.exists:
        raise UserError(
            f"{name} is a run, and the comparison would replace its write-up; "
            "give the comparison another name (compare --name NAME, sweep -p run_name NAME)"
        )


def _compare(runs: list[str], name: str, missing: Collection[str] = ()) -> None:
    from crack_utils.reporting import runner

    print(f"Comparison: {runner.compare(runs, name, missing)}")


def bench(options: argparse.Namespace) -> None:
    _run_program(f"benchmarks/{options.what}.py", options.words)


def cache(options: argparse.Namespace) -> None:
    kept = store.image_cache()
    if kept is None:
        raise UserError("CRACK_CACHE is off, so nothing is kept; unset it, or name a folder in it")
    entries = kept.entries()
    for entry in () if options.remove else entries:
        print(f"{entry.size / 1e6:8.1f} MB, used {time.strftime('%Y-%m-%d %H:%M', time.localtime(entry.used_s))}")
    print(f"{'Removed' if options.remove else 'Together'} {sum(entry.size for entry in entries) / 1e6:.1f} MB in {kept.folder}")
    if options.remove:
        kept.remove()


def parameters(options: argparse.Namespace) -> None:
    _run_program("tools/parameters.py")


def _run_program(name: str, words: Sequence[str] = ()) -> None:
    if not (store.REPOSITORY / name).is_file():
        raise UserError(f"{name} belongs to the repository, not to the installed package; run this command in a clone of the repository")
    sys.argv[1:] = words
    runpy.run_path(str(store.REPOSITORY / name), run_name="__main__")


def _terminate(number: int, frame: object) -> None:
    """End this process as a stop from the keyboard does: a cluster's stop ends members and kernels too."""
    raise Interrupted("stopped", number)


def _follow(sweep: int) -> None:
    """Stop this member when its sweep is gone, because a sweep that was killed cannot stop its members."""
    while os.getppid() == sweep:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    if os.environ.get(config.SWEEP) == str(os.getppid()):
        threading.Thread(target=_follow, args=[os.getppid()], daemon=True).start()
    sys.exit(main())
