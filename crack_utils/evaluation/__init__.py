"""Evaluation: thresholds from val, figures of test, and any photo by tiles.

Add a rule for masks after the threshold in ``applied_threshold`` of ``run.py``. A figure is an entry in ``scoring/figures.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "large_photo": ["LargePrediction"],
        "photo": ["PhotoPrediction", "Predictor", "read_photo"],
        "run": ["applied_threshold", "evaluate_run", "measure_test", "score_run"],
    },
)
