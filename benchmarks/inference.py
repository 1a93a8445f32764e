"""Predictions, timed: ``python -m crack_utils bench inference``. Options are those of ``bench training``."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).with_name("training.py")))["main"]("inference")
