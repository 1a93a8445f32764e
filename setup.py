"""Hands requirements.txt to pip, so that the list of dependencies is written once; the rest is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

lines = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8").splitlines()
setup(install_requires=[line.split("#")[0].strip() for line in lines if line[:1] not in ("", "#", "-")])
