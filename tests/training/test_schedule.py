"""The optimizer and its step size."""

import pytest
import torch
from tiny_training import tiny_run

from crack_utils.config import parse_parameters
from crack_utils.training import build_optimizer, learning_rate


def test_the_schedules_are_those_of_the_library():
    for scheduler, theirs in (
        ("step 5 0.95", lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.95)),
        ("cosine", lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 25)),
    ):
        params = parse_parameters({"scheduler": scheduler, "epochs": 25, "learning_rate": 0.1})
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        schedule = theirs(optimizer)
        for epoch in range(25):
            assert learning_rate(params, epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    constant = parse_parameters({"learning_rate": 0.1})
    assert {learning_rate(constant, epoch) for epoch in range(100)} == {0.1}


def test_the_warm_up_rises_to_where_the_schedule_begins(home, small_data):
    run = tiny_run(small_data, epochs=6, warmup_epochs=3, scheduler="cosine", learning_rate=0.4)
    rates = run.history.load()["learning_rate"].tolist()
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.3, 0.1])
    run = tiny_run(small_data, epochs=8, warmup_epochs=2, scheduler="step 2 0.5", learning_rate=0.3)
    assert run.history.load()["learning_rate"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.3, 0.15, 0.15, 0.075, 0.075])


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ({"optimizer": "sgd", "momentum": 0.9}, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0}),
        ({"optimizer": "sgd"}, torch.optim.SGD, {"momentum": 0}),
        ({"optimizer": "adam"}, torch.optim.Adam, {"weight_decay": 0}),
        ({"optimizer": "adamw"}, torch.optim.AdamW, {"weight_decay": 0.01}),
        ({"optimizer": "adamw", "weight_decay": 0.1}, torch.optim.AdamW, {"weight_decay": 0.1}),
    ],
)
def test_each_optimizer_is_the_librarys(values, kind, expected):
    optimizer = build_optimizer(torch.nn.Linear(1, 1), parse_parameters({**values, "learning_rate": 0.5}))
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected
    assert optimizer.param_groups[0]["lr"] == 0.5
