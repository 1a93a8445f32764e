"""Training: the loop, losses, sampling and mining, schedules, validation, checkpoints, and the log's lines.

Add a loss term as one entry of ``TERMS`` in ``losses.py``. History, curves and tables show the term as ``loss_NAME``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checkpoints": ["is_better"],
        "losses": ["TERMS", "Term", "decision_loss", "loss_weights", "segmentation_loss"],
        "log": ["Watcher"],
        "loop": ["Training"],
        "run": ["claim_run", "present_fingerprint", "train_run"],
        "step": ["Parts", "build_optimizer", "learning_rate", "train_step", "validate"],
    },
)
