"""A run's folder, its lock, its provenance, and the published record. No other room knows the names of files.

Add an artifact as one line of :class:`Run` in ``run.py``; ``files.py`` has the kinds of files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "files": [
            *("REPOSITORY", "SHIPPED", "home", "image_cache", "relative_url", "report_dir", "report_index", "sample_folder", "timestamp"),
            *("write_bytes", "written_whole"),
        ],
        "formats": ["portable"],
        "identity": ["check_data", "is_of_other_data", "override", "update_parameters", "with_former_data"],
        "predictions": ["Example", "Predictions", "load_examples", "load_predictions", "save_photo", "write_predictions"],
        "provenance": ["changed_state", "computed_in", "recorded", "software", "trained_with"],
        "record": [
            *("DATASET", "F1_DEVIATION", "F1_NOISE", "check_record_run"),
            *("differences", "is_comparable", "load_record", "published", "record_rows"),
        ],
        "run": ["Chosen", "Run", "Unwritten", "chosen_epoch", "find_run", "finish_training", "forget_results", "load_chosen"],
        "status": ["Status", "claimed", "is_claimed", "load_status", "refuse_claimed", "save_status"],
    },
)
