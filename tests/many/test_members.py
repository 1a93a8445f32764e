"""The members of a configuration file."""

import pytest

from crack_utils.errors import ParameterError
from crack_utils.many import member_command, pick_member, read_members


def write(home, text, name="trial"):
    path = home / "runs" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_grid_has_every_combination_with_every_seed(home):
    members = read_members(
        write(home, "epochs: 3\nsweep:\n  grid: {learning_rate: [0.1, 1e-3], augmentation: [true, false]}\n  seeds: [7, 8]\n")
    )
    assert len(members) == 8
    assert members[0].run.name == "trial/learning_rate-0.1_augmentation-True_seed7"
    assert {(m.params.learning_rate, m.params.augmentation, m.params.seed) for m in members} == {
        (rate, augmentation, seed) for rate in (0.1, 0.001) for augmentation in (True, False) for seed in (7, 8)
    }
    assert {m.params.epochs for m in members} == {3}


def test_named_members_keep_their_names_and_overrides_win(home):
    path = write(home, "epochs: 3\nsweep:\n  members: {fast: {learning_rate: 0.1}, plain: }\n")
    assert [(m.label, m.params.learning_rate, m.params.epochs) for m in read_members(path, [["epochs", "5"]])] == [
        ("fast", 0.1, 5),
        ("plain", 0.001, 5),
    ]
    assert pick_member(path, [["run_name", "other"]], "fast").run.name == "other/fast"


def test_a_file_without_a_sweep_is_one_run(home):
    (member,) = read_members(write(home, "epochs: 3"))
    assert (member.label, member.run.name) == ("", "trial")
    with pytest.raises(ParameterError, match="is one run, not a sweep: leave --member out"):
        pick_member(write(home, "epochs: 3"), None, "x")
    with pytest.raises(ParameterError, match="unknown member x"):
        pick_member(write(home, "sweep: {seeds: [1]}"), None, "x")


def test_what_a_sweep_varies_is_not_overridden(home):
    path = write(home, "sweep: {grid: {epochs: [3, 4]}, seeds: [1]}")
    with pytest.raises(ParameterError, match=r"the sweep .* varies epochs"):
        read_members(path, [["epochs", "5"]])
    with pytest.raises(ParameterError, match=r"the sweep .* varies seed"):
        read_members(path, [["seed", "5"]])
    assert {member.params.batch_size for member in read_members(path, [["batch_size", "2"]])} == {2}


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("[1]", r"sweep in .*trial\.yaml: should hold grid, members or seeds"),
        ("{grid: {epochs: 3}}", "grid should hold 'parameter: "),
        ("{grids: {epochs: [3]}}", r"unknown key of sweep in .* grids; did you mean grid\?"),
        ("{grid: {epochs: [3]}, members: {a: {}}}", "give grid or members, not both"),
        ("{members: [a]}", "members should hold"),
        ("{seeds: 3}", r"seeds should be a list such as \[101, 102\], got 3"),
        ("{seeds: [3, 3]}", "2 members would be called seed3"),
        ("{seeds: [1, '01']}", "seed1 and seed01 have the same parameters"),
        ("{members: {a: {epochs: 3}, b: {epochs: 3.0}}}", "a and b have the same parameters"),
        ("{grid: {data_root: [a/b, a-b]}}", "2 members would be called data_root-a-b"),
        ("{seeds: 0}", "seeds should be a list"),
        ("{members: [], seeds: [1]}", "members should hold"),
        ("{grid: {epochs: [3], epochs: [4]}}", r"epochs appears twice"),
        ("{members: {figures: {}}}", "run_name 'trial/figures': a run has a folder of its own called figures"),
        ("{grid: {epoch: [3]}}", r"member epoch-3: unknown parameter epoch; did you mean epochs\?"),
        ("{}", "should hold grid, members or seeds"),
        ("{grid: {}}", "the sweep has no members"),
        ("{grid: {seed: [1]}, seeds: [2]}", "the sweep has both seed and seeds"),
        ("{grid: {epochs: [3, ten]}}", "member epochs-ten: epochs: should be a valid integer"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_words(home, sweep, message):
    with pytest.raises(ParameterError, match=message):
        read_members(write(home, f"sweep: {sweep}\n"))


def test_a_sweep_given_to_run_names_its_members(home):
    with pytest.raises(ParameterError, match="is a sweep of 2 runs: use the command sweep, or --member with one of seed1, seed2"):
        pick_member(write(home, "sweep: {seeds: [1, 2]}\n"))


def test_a_member_is_run_by_a_command_of_its_own(home):
    member = read_members(write(home, "sweep: {seeds: [1]}\n"))[0]
    words = member_command("runs/trial.yaml", [["epochs", "2"]], pages=False)(member)
    assert words[1:] == ["-m", "crack_utils", "run", "runs/trial.yaml", "--member", "seed1", "-p", "epochs", "2", "--no-pages"]
    assert member_command("runs/trial.yaml", [], pages=True, overwrite=True)(member)[-1] == "--overwrite"
