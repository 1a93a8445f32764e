"""requirements.lock: exact versions that fit requirements.txt."""

import re

import pytest
from conftest import REPOSITORY
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

OLD, NEW = {"python_version": "3.11", "python_full_version": "3.11.0"}, {"python_version": "3.13", "python_full_version": "3.13.9"}
SYSTEMS = [
    {**default_environment(), "sys_platform": system, "platform_system": name, "os_name": kind, **python}
    for system, name, kind in (("linux", "Linux", "posix"), ("darwin", "Darwin", "posix"), ("win32", "Windows", "nt"))
    for python in (OLD, NEW)
]


def lines_of(text):
    """The lines that say something, without comments."""
    return [line for line in (re.sub(r"(^|\s)#.*", "", each).strip() for each in text.splitlines()) if line]


def what_is_wrong(requirements, lock):
    """Each line of the lock that is no exact version, and each requirement that the lock does not meet on one of the systems."""
    wrong, locked = [], {}
    for line in lines_of(lock):
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            wrong.append(line)
            continue
        pins = [each for each in requirement.specifier if each.operator == "==" and "*" not in each.version]
        if requirement.url or len(pins) != 1 or len(requirement.specifier) != 1:
            wrong.append(line)
        else:
            locked.setdefault(canonicalize_name(requirement.name), []).append((pins[0].version, requirement.marker))
    for line in lines_of(requirements):
        if line.startswith("-"):
            continue
        wanted = Requirement(line)
        for system in SYSTEMS:
            found = [version for version, marker in locked.get(canonicalize_name(wanted.name), []) if not marker or marker.evaluate(system)]
            if len(found) != 1 or not wanted.specifier.contains(found[0], prereleases=True):
                wrong.append(line)
                break
    return wrong


def test_the_lock_meets_every_requirement_with_one_exact_version():
    texts = [(REPOSITORY / name).read_text(encoding="utf-8") for name in ("requirements.txt", "requirements.lock")]
    assert what_is_wrong(*texts) == [], "run python tools/lock.py"


@pytest.mark.parametrize(
    "lock",
    [
        "",
        "numpy==1.26.4",
        "numpy>=2.0",
        "numpy==2.*",
        "numpy",
        "numpy @ https://example.org/numpy-2.0.0-py3-none-any.whl",
        "./numpy-2.0.0-py3-none-any.whl",
        "/wheels/numpy-2.0.0-py3-none-any.whl",
        "--index-url https://example.org/simple\nnumpy==2.0.0",
        "-e .\nnumpy==2.0.0",
        "numpy==2.0.0 ; sys_platform == 'linux'",
        "numpy==2.0.0\nnumpy==2.1.0 ; python_full_version >= '3.13'",
    ],
)
def test_a_lock_that_does_not_fit_is_noticed(lock):
    assert what_is_wrong("numpy>=2.0  # a comment\n-e .", "# a comment\nNumPy==2.0.0 ; python_full_version >= '3.11'") == []
    assert what_is_wrong("numpy>=2.0  # a comment\n-e .", lock) != []
