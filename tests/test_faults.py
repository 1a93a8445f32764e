"""The short version of the program that stops runs at random moments, and starts two processes on one run."""

import random

import pytest
from faults import short


@pytest.mark.slow
def test_nothing_is_lost_whatever_stops_a_run_and_whoever_else_works_on_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CRACK_HOME", "")  # the program sets another one
    killed, together = short(tmp_path / "place", random.Random(0))
    assert killed["differences"].tolist() == ["none"] * len(killed), killed.to_string()
    assert together["differences"].tolist() == ["none"] * len(together), together.to_string()
