"""Images, predictions and figures walk down through the rooms, in the order of the house, and hardly ever back up.

A function joins the walk when it returns or yields its first value, because the value then goes on to the next place. The walk lists the
rooms of these functions; a room that follows itself stands once. Two kinds of rooms are left out: the room that directs the work (training
or evaluation), and ``config``, because reading a parameter moves no data. Nested functions are left out too; the function around them
counts. A *move* is a change of room. A *climb* is a move to an earlier room of the house that the walk has visited before.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, small_params, write_dataset

import crack_utils
from crack_utils.data import data_facts, find_data
from crack_utils.evaluation import Predictor, evaluate_run
from crack_utils.networks import build_model
from crack_utils.store import Run
from crack_utils.training import train_run

PACKAGE = Path(crack_utils.__file__).parent
HOUSE = ["data", "networks", "scoring", "store"]
MOST_MOVES, MOST_CLIMBS = 12, 2


def walk(work):
    """The rooms that ``work`` walks through in this thread."""
    seen, rooms = set(), []

    def watch(frame, event, _):
        code = frame.f_code
        if event == "return" and code not in seen and code.co_filename.startswith(f"{PACKAGE}/") and "<" not in code.co_qualname:
            seen.add(code)
            rooms.append(Path(code.co_filename).relative_to(PACKAGE).parts[0])

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return [room for room, _ in itertools.groupby(room for room in rooms if room in HOUSE)]


def climbs(rooms):
    return [
        (before, after)
        for i, (before, after) in enumerate(itertools.pairwise(rooms), start=1)
        if HOUSE.index(after) < HOUSE.index(before) and after in rooms[:i]
    ]


def check(rooms):
    assert len(rooms) - 1 <= MOST_MOVES, rooms
    assert len(climbs(rooms)) <= MOST_CLIMBS, climbs(rooms)


def test_moves_and_climbs_are_counted():
    rooms = ["store", "networks", "data", "networks", "data", "store"]
    assert climbs(rooms) == [("networks", "data")]  # the first two moves lead up too, but to rooms that the walk has not visited before
    rooms = walk(lambda: [HOUSE.index("data"), build_model(small_params("x")), Run("a").is_trained])
    assert rooms == ["networks", "store"]
    with pytest.raises(AssertionError):
        check(["data", "networks"] * 7)


@pytest.fixture
def untrained(home, tmp_path):
    """A run with the weights that a training starts from."""
    params = small_params(write_dataset(tmp_path / "d"), evaluate_negatives=True)
    data, run = find_data(params, home), Run("a")
    run.params.save(params, {}, data_facts(data))
    run.model.save(build_model(params))
    return run


def test_an_evaluation_walks_down(untrained):
    rooms = walk(lambda: evaluate_run(untrained))
    check(rooms)
    assert rooms[-5:] == ["networks", "data", "networks", "scoring", "store"]
    assert climbs(rooms)[-1] == ("networks", "data")  # a prediction gets its crop's own size back


def test_a_photo_walks_down(untrained):
    untrained.metrics.save({"segmentation_2px": {"threshold": 0.5}, "decision": {"threshold": 0.5}})
    rooms = walk(lambda: Predictor(untrained)(np.zeros((90, 300, 3), np.uint8)))
    check(rooms)
    assert rooms[-4:] == ["data", "networks", "data", "scoring"]


def test_a_training_walks_down(home, small_data):
    """The tests' parts leave out two side walks: the network lies outside of the package, and no training step is timed beforehand."""
    rooms = walk(lambda: train_run(small_params(small_data, epochs=1), "a", parts=TINY))
    check(rooms)
    assert rooms[-4:] == ["data", "networks", "scoring", "store"]
