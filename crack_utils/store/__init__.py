"""A run's folder, its lock, its provenance, and the published record. No other room knows the names of files.

Add an artifact as one line of :class:`Run` in ``run.py``; ``artifacts.py`` has the kinds of files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "chosen": ["Chosen", "chosen_epoch", "load_chosen"],
        "examples": ["Example", "load_examples", "save_photo"],
        "files": ["write_bytes", "written_whole"],
        "lock": ["claimed", "is_claimed"],
        "places": ["REPOSITORY", "home", "relative_url", "report_dir", "report_index", "sample_folder"],
        "predictions": ["Predictions", "load_predictions", "write_predictions"],
        "provenance": ["changed_state", "recorded", "software", "timestamp"],
        "record": [
            "DATASET",
            "F1_DEVIATION",
            "F1_NOISE",
            "check_record_run",
            "differences",
            "is_comparable",
            "load_record",
            "published",
            "record_rows",
        ],
        "run": ["Run", "find_run", "finish_training", "forget_results"],
    },
)
