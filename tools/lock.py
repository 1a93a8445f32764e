"""Write requirements.lock: the installed versions of everything that requirements.txt needs.

Run it with ``python tools/lock.py`` in an environment in which the tests pass. It needs uv, which also finds the
versions for other systems and other versions of Python.
"""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.specifiers import SpecifierSet

REPOSITORY = Path(__file__).resolve().parents[1]
HEADER = """\
# The exact versions of all packages that requirements.txt needs; the tests ran with them on Linux and Python {python}.
# Lines for other systems and other versions of Python were resolved, not tested.
# To install them: pip install -r requirements.lock -e . --no-deps
# Written by python tools/lock.py (CONTRIBUTING.md, Exact versions). Do not edit.
"""


def constraint(distribution) -> str:
    """The installed version, for the versions of Python that are new enough for it."""
    pythons = SpecifierSet(distribution.metadata["Requires-Python"] or "")
    marker = " and ".join(f"python_full_version >= '{each.version}'" for each in pythons if each.operator == ">=")
    return f"{distribution.metadata['Name']}=={distribution.version}" + (f" ; {marker}" if marker else "")


def write_lock() -> None:
    """Resolve requirements.txt with the installed versions and write requirements.lock."""
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    with TemporaryDirectory() as folder:
        requirements, installed, lock = (Path(folder) / name for name in ("requirements.txt", "installed.txt", "requirements.lock"))
        requirements.write_text("\n".join(line for line in lines if not line.startswith("-")), encoding="utf-8")
        installed.write_text("\n".join(map(constraint, distributions())), encoding="utf-8")
        options = ["--universal", "--python-version", "3.11", "--no-python-downloads", "--no-annotate", "--no-header", "--quiet"]
        command = [sys.executable, "-m", "uv", "pip", "compile", requirements, "-c", installed, "-o", lock, *options]
        if subprocess.run(command).returncode:
            sys.exit("requirements.lock is unchanged. If uv is missing: pip install uv")
        header = HEADER.format(python=".".join(map(str, sys.version_info[:2])))
        (REPOSITORY / "requirements.lock").write_text(header + lock.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    write_lock()
