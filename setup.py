"""Leaves tests out of what is installed from a wheel; everything else is in pyproject.toml."""

from setuptools import setup
from setuptools.command.build_py import build_py

TEST_MODULES = ("testing", "conftest")


class BuildWithoutTests(build_py):
    """The modules of each package, without its tests and what only they import."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """[(package, module, file)]."""
        found = super().find_package_modules(package, package_dir)
        return [entry for entry in found if not entry[1].endswith("_test") and entry[1] not in TEST_MODULES]


setup(cmdclass={"build_py": BuildWithoutTests})
