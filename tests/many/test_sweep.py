"""Members as processes of their own, their progress, and a whole sweep in which one member is killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import REPOSITORY, write_dataset

from crack_utils.__main__ import main
from crack_utils.errors import ParameterError
from crack_utils.many import progress_table, read_members, run_members, slots, state, visible_gpus
from crack_utils.many.pool import Processes, fitted
from crack_utils.store import Run, claimed, load_status


def write(home, text, name="trial"):
    path = home / "runs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def python(code):
    return [sys.executable, "-c", code]


@pytest.fixture
def members(home):
    return read_members(write(home, "dataset: crack500\ndata_root: x\nsweep: {seeds: [1, 2, 3, 4]}\n"))


def test_a_member_that_fails_or_is_killed_takes_no_other_with_it(members):
    codes = {
        "seed1": "print('error: no such thing'); raise SystemExit(1)",
        "seed2": "import os; os.kill(os.getpid(), 9)",
        "seed3": "print('well')",
        "seed4": "raise SystemExit(3)",
    }
    states = run_members(members, lambda member: python(codes[member.label]), slots(2), False, lambda _: None)
    assert states == {
        "seed1": "failed: no such thing",
        "seed2": "failed: killed by signal 9",
        "seed3": "finished",
        "seed4": "failed: exit status 3",
    }
    assert members[2].run.path("output.log").read_text() == "well\n"


def test_a_member_in_the_hands_of_another_process_is_left_to_it(members):
    with claimed(members[0].run, "training"):
        states = run_members(members[:2], lambda _: python("print('well')"), slots(1), False, lambda _: None)
    assert states == {"seed1": "failed: in the hands of another process", "seed2": "finished"}


def test_a_folder_that_cannot_be_read_stops_no_other_member(members):
    run = members[0].run
    run.folder.mkdir(parents=True)
    for name in ("params.json", "model.safetensors", "metrics.json"):
        run.path(name).write_text("{broken")
    states = run_members(members[:2], lambda _: python("print('well')"), slots(1), False, lambda _: None)
    assert set(states.values()) == {"finished"}
    assert progress_table(members[:2], states)["epoch"].tolist() == ["0/100", "0/100"]


def test_as_many_run_at_once_as_there_are_places(members, tmp_path):
    """Each of two members at a time waits for a second one to have begun: alone it would give up."""
    code = (
        "import os, pathlib, sys, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "(here / sys.argv[1]).touch()\n"
        "begun = time.time()\n"
        "while len(list(here.glob('seed*'))) < 2 and time.time() < begun + 20: time.sleep(0.02)\n"
        "print(len(list(here.glob('seed*'))), os.environ['OMP_NUM_THREADS'])\n"
    )
    running, most = set(), 0

    def watch(states):
        nonlocal most
        running.clear()
        running.update(label for label, state in states.items() if state == "running")
        most = max(most, len(running))

    states = run_members(members, lambda member: [*python(code), member.label], [{"OMP_NUM_THREADS": "1"}] * 2, False, watch)
    assert set(states.values()) == {"finished"}
    assert most == 2
    for member in members:
        begun, threads = member.run.path("output.log").read_text().split()
        assert int(begun) >= 2
        assert threads == "1"


@pytest.fixture
def interruptible():
    """Let SIGINT raise KeyboardInterrupt. A process started in the background ignores SIGINT, and so would these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


LONG = "import time; print('begun', flush=True); time.sleep(60); print('whole')"


def test_stopping_stops_the_members_and_starts_no_more(members, interruptible):
    logs = [member.run.path("output.log") for member in members]

    def interrupt():
        while [log.is_file() and log.read_text() for log in logs[:2]] != ["begun\n", "begun\n"]:
            time.sleep(0.05)
        interruptible()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_members(members, lambda _: python(LONG), slots(2), False, lambda _: None)
    assert [log.read_text() for log in logs[:2]] == ["begun\n", "begun\n"]
    assert not any(log.exists() for log in logs[2:])


def test_gpus_get_one_member_each_and_cores_are_shared(monkeypatch):
    assert len(slots(3)) == 3
    assert all(int(slot["OMP_NUM_THREADS"]) >= 1 for slot in slots())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = visible_gpus(2)
    assert slots(gpus=gpus, cores=8) == [
        {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "4"},
        {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "4"},
    ]
    assert slots(members=2, most=1, gpus=gpus, cores=8) == [{"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "4"}]  # a resumed sweep
    assert slots(members=1, gpus=gpus, cores=8) == [{"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "8"}]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(4, gpus=visible_gpus(2))] == ["3", "5", "3", "5"]
    assert visible_gpus(0) == []


def test_gpus_are_given_out_and_not_asked_for_and_cpu_members_share_cores():
    assert slots(1, {"cpu"}, gpus=["0", "1"], cores=4) == [{"OMP_NUM_THREADS": "4"}]
    with pytest.raises(ParameterError, match="a sweep gives each member a GPU of its own; say cuda or auto"):
        slots(None, {"cuda:1", "auto"})


def test_after_a_stop_no_process_starts_and_those_started_before_end():
    processes = Processes()
    process = processes.start(python("import time; time.sleep(60)"))
    processes.stop()
    assert processes.start(python("print('late')")) is None
    assert process.wait(30) == -signal.SIGTERM


def test_a_stop_between_two_steps_starts_no_member(members, interruptible):
    """The stop comes after the member's state is running and before its process exists."""

    def show(states):
        if states["seed1"] == "running":
            time.sleep(0.5)  # until the main thread waits for the member
            interruptible()
            time.sleep(0.5)

    with pytest.raises(KeyboardInterrupt):
        run_members(members[:1], lambda _: python(LONG), slots(1), False, show)
    assert members[0].run.path("output.log").read_text() == ""


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 10), (40, 8)])
def test_the_table_of_progress_is_redrawn_in_place_on_any_terminal(home, size):
    many = read_members(write(home, f"sweep: {{grid: {{learning_rate: [0.1, 0.01, 0.001]}}, seeds: {list(range(12))}}}\n"))
    states = {member.label: "waiting" for member in many} | {many[0].label: "running", many[9].label: "failed: " + 60 * "why "}
    lines = fitted(progress_table(many, states), *size)
    assert len(lines) < size[1]
    assert max(map(len, lines)) < size[0]
    assert lines[0] == "34 waiting, 1 running, 1 failed"[: size[0] - 1]
    assert any(line.strip().startswith(many[0].label[: size[0] - 3]) for line in lines)


def test_a_member_without_pages_says_so(home):
    member = read_members(write(home, "sweep: {seeds: [1]}\n"))[0]
    assert state(member, pages=True) == "open"
    member.run.folder.mkdir(parents=True)
    member.run.params.save(member.params, {}, {})
    for name in ("model.safetensors", "metrics.json"):
        member.run.path(name).write_text("{}")
    assert (state(member, pages=True), state(member, pages=False)) == ("without pages", "finished")


def test_a_sweep_called_as_a_run_is_refused_before_any_work(home, capsys):
    path = write(home, "sweep: {seeds: [1]}\n")
    run = Run("trial")
    run.folder.mkdir(parents=True)
    run.params.save(read_members(path)[0].params, {}, {})
    assert main(["sweep", str(path)]) == 1
    assert "trial is a run, and the comparison would replace its write-up" in capsys.readouterr().err
    assert not (home / "runs/trial/seed1").exists()


# --- the whole way


def command(home, *words, **more):
    words = [sys.executable, *map(str, words)]
    environment = {**os.environ, "CRACK_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


@pytest.mark.slow
def test_a_sweep_survives_a_killed_member_resumes_and_compares(home, tmp_path):
    root = write_dataset(tmp_path / "d")
    path = write(
        home,
        f"dataset: crack500\ndata_root: {root}\nepochs: 3\nvalidation_n_epochs: 1\n"
        "sweep:\n  grid: {architecture: [segdecnet, unet]}\n  seeds: [0, 1]\n",
    )
    victim = Run("trial/architecture-segdecnet_seed1")
    sweep = command(home, "-m", "crack_utils", "sweep", path, "--no-pages", "--jobs", "2")
    while not victim.path("checkpoint.pt").exists():
        assert sweep.poll() is None, sweep.stdout.read()
        time.sleep(0.05)
    subprocess.run(["pkill", "-KILL", "-f", f"{path} --member architecture-segdecnet_seed1"], check=True)
    said = sweep.communicate(timeout=600)[0]
    assert sweep.returncode == 1
    assert "architecture-segdecnet_seed1: failed: killed by signal 9" in said
    assert "error: 1 of 4 runs failed; the same command tries them again" in said
    page = (home / "report" / "trial" / "index.html").read_text()
    assert "These runs have not finished and are left out: architecture-segdecnet_seed1." in page
    before = {member.run.name: member.run.path("output.log").stat().st_mtime_ns for member in read_members(path)}

    sweep = command(home, "-m", "crack_utils", "sweep", path, "--no-pages", "--jobs", "2")
    said = sweep.communicate(timeout=600)[0]
    assert sweep.returncode == 0, said
    assert f"Going on with {victim.name} after epoch " in victim.log.load()
    after = {member.run.name: member.run.path("output.log").stat().st_mtime_ns for member in read_members(path)}
    assert [name for name in before if before[name] != after[name]] == [victim.name]
    page = (home / "report" / "trial" / "index.html").read_text()
    assert "4 runs of 2 combinations" in page
    assert "CRACK500 test subset (2 images)" in page
    table = progress_table(read_members(path), dict.fromkeys([member.label for member in read_members(path)], "finished"))
    assert table["epoch"].tolist() == ["3/3"] * 4
    assert table["test F1"].notna().all()


@pytest.mark.slow
def test_members_stop_in_order_when_their_sweep_was_killed(home, tmp_path):
    root = write_dataset(tmp_path / "d")
    path = write(home, f"dataset: crack500\ndata_root: {root}\nepochs: 500\nvalidation_n_epochs: 1\nsweep: {{seeds: [0]}}\n")
    run = Run("trial/seed0")
    sweep = command(home, "-m", "crack_utils", "sweep", path, "--no-pages")
    while not run.checkpoint.exists:
        assert sweep.poll() is None, sweep.stdout.read()
        time.sleep(0.05)
    sweep.kill()
    until = time.monotonic() + 60
    while load_status(run).state == "running" and time.monotonic() < until:
        time.sleep(0.2)
    found = load_status(run)
    assert found.state == "interrupted" and found.reason.startswith("stopped in epoch ")
    sweep.communicate()


def test_the_example_for_clusters_says_what_it_lacks(home, tmp_path):
    (tmp_path / "submitit.py").write_text("raise ImportError")
    path = write(home, "sweep: {seeds: [1]}\n")
    environment = {**os.environ, "CRACK_HOME": str(home), "PYTHONPATH": str(tmp_path)}
    script = [sys.executable, str(REPOSITORY / "docs" / "submit_sweep.py"), str(path)]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: submitting jobs needs submitit; install it with pip install -e '.[cluster]'\n")


@pytest.mark.slow
def test_the_example_for_clusters_submits_each_member_through_an_engine(home, tmp_path):
    """With the engine's local executor in the cluster's place."""
    pytest.importorskip("submitit", reason="the extra 'cluster' is not installed")
    root = write_dataset(tmp_path / "d")
    path = write(
        home,
        f"dataset: crack500\ndata_root: {root}\nepochs: 1\nhard_negative_mining: 0\n"
        "sweep:\n  members: {a: , b: {data_root: nowhere}}\n",
    )
    submitted = command(home, REPOSITORY / "docs" / "submit_sweep.py", path, "--cluster", "local", "--no-pages")
    said = submitted.communicate(timeout=300)[0]
    assert "trial/a: finished" in said, said
    assert "trial/b: failed, see " in said
    assert submitted.returncode == 1
    assert Run("trial/a").is_evaluated
