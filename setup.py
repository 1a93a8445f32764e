"""What pyproject.toml cannot say: requirements.txt holds the dependencies, and a wheel packs files that lie beside the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
SHIPPED = ("notebooks/*.ipynb", "runs/*.yaml", "runs/record/*")


class WithShippedFiles(build_py):
    """Copies notebooks, configurations and the record into the wheel. In an editable install, the package finds them beside itself."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for path in (path for pattern in SHIPPED for path in HERE.glob(pattern)):
                target = Path(self.build_lib, "crack_utils", "shipped", path.relative_to(HERE))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


lines = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
setup(
    install_requires=[line.split("#")[0].strip() for line in lines if line[:1] not in ("", "#", "-")],
    cmdclass={"build_py": WithShippedFiles},
)
