"""Submit the unfinished members of a sweep to a cluster through submitit (extra ``cluster``), one job each.

    python docs/submit_sweep.py runs/networks.yaml --partition gpu --hours 24     # Slurm
    python docs/submit_sweep.py runs/networks.yaml --cluster local                # a trial on this machine

A job runs the command that ``python -m crack_utils sweep`` would run for this member: ``run FILE --member NAME``. The same script,
started again, skips finished members and continues stopped ones. When all members are finished, compare them with
``python -m crack_utils compare networks --name networks``.
"""

import argparse
import sys

from crack_utils.errors import UserError
from crack_utils.many import is_finished
from crack_utils.many.members import member_command, read_members
from crack_utils.store import home


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configuration", help="a YAML file with a sweep, such as runs/networks.yaml")
    parser.add_argument("--cluster", default=None, help="slurm or local; default: the cluster that submitit finds")
    parser.add_argument("--partition", default=None, help="partition of Slurm")
    parser.add_argument("--hours", type=float, default=24, help="time limit of each job")
    parser.add_argument("--no-pages", action="store_false", dest="pages", help="train and evaluate only; write no pages")
    options = parser.parse_args()
    if not 0 < options.hours < float("inf"):
        parser.error(f"--hours should be above 0, got {options.hours}")
    try:
        import submitit

        members = [member for member in read_members(options.configuration) if not is_finished(member, options.pages)]
    except ImportError:
        print("error: submitting jobs needs submitit; install it with pip install -e '.[cluster]'", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    limits = {"timeout_min": int(60 * options.hours), "cpus_per_task": 4, "gpus_per_node": 0 if options.cluster == "local" else 1}
    try:
        executor = submitit.AutoExecutor(home() / "runs" / "submitted", cluster=options.cluster)
    except (RuntimeError, ValueError) as error:  # there is no such cluster, or no Slurm on this machine
        print(f"error: {error}", file=sys.stderr)
        return 1
    executor.update_parameters(**limits)
    if options.partition:
        executor.update_parameters(slurm_partition=options.partition)
    command = member_command(options.configuration, [], options.pages)
    jobs = {member.run.name: executor.submit(submitit.helpers.CommandFunction(command(member), verbose=False)) for member in members}
    failed = 0
    for name, job in jobs.items():
        error = job.exception()  # waits
        failed += error is not None
        print(f"{name}: {'finished' if error is None else f'failed, see {job.paths.stderr}'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
