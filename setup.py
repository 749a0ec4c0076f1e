"""What pyproject.toml can't say: a wheel holds `checkpoints/` inside the package, as `gnnpot/checkpoints/`, and
`configs/` as `gnnpot/presets/`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = Path(__file__).parent / "checkpoints"
PRESETS = Path(__file__).parent / "configs"


class BuildWithCheckpoints(build_py):
    """Builds the package and puts the checkpoints into it; an editable install has them beside it already."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "gnnpot" / "checkpoints"
            # a build folder that was used before may hold checkpoints that are no longer shipped
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(SHIPPED, target)
            presets = Path(self.build_lib) / "gnnpot" / "presets"
            shutil.rmtree(presets, ignore_errors=True)
            shutil.copytree(PRESETS, presets)


setup(cmdclass={"build_py": BuildWithCheckpoints})
