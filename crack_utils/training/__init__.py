"""Training: the loop, losses, sampling and mining, schedules, validation, checkpoints, and the log's lines.

Add a loss term as one entry of ``TERMS`` in ``losses.py``. History, curves and tables show the term as ``loss_NAME``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "losses": ["TERMS", "Outputs", "Term", "decision_loss", "loss_weights", "segmentation_loss"],
        "loop": ["Training"],
        "parts": ["Parts"],
        "run": ["claim_run", "train_run"],
        "schedule": ["build_optimizer", "learning_rate"],
        "step": ["measure_step", "positive_weights", "train_step"],
        "validation": ["is_better", "validate"],
        "watcher": ["Watcher"],
    },
)
