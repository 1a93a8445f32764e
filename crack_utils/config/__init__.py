"""Run parameters, configuration files, run names, and whole files. This room imports no torch.

Add a run parameter as one field of :class:`RunParameters` in ``parameters.py``; add the name of a network or a data set in ``choices.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "checks": ["check_input_size", "check_names"],
        "choices": ["AUGMENTATIONS", "DATASETS", "NETWORKS", "Network", "plain"],
        "files": ["FOLDERS", "FOLDERS_OF_A_RUN", "check_run_name", "is_run_name", "read_yaml", "resolve_folders"],
        "limits": ["SWEEP", "kills_for_memory", "launched_processes", "usable_cores", "usable_memory_gib"],
        "parameters": ["DATA_PARAMETERS", "PARAMETER_DEFAULTS", "PARAMETER_HELP", "UNIDENTIFYING", "RunParameters", "parse_parameters"],
        "writing": ["write_bytes", "writing", "written_whole"],
    },
)
