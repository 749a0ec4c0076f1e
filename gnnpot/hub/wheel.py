"""Wheels of other packages, which are downloaded by pip and read as archives, but never installed or executed.

    path = download_wheel(wheel, Path("scratch"), report)
    data = read_member(path, "chgnet/pretrained/0.3.0/….pth.tar", 4863221)

The same wheel of a release is downloaded for all interpreters and platforms, because all wheels have the same weights.
The settings of the user for pip (index, certificates, proxies, constraints) apply.
"""

import contextlib
import lzma
import os
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

from gnnpot.errors import CheckpointError, DownloadError
from gnnpot.hub.cache import cache_errors
from gnnpot.hub.download import Report
from gnnpot.hub.registry import Wheel

#: seconds between progress reports
_INTERVAL = 0.2


def download_wheel(wheel: Wheel, folder: Path, report: Report) -> Path:
    """Download a wheel to `folder`; return its path. Raises `DownloadError`, with the reason of pip, if that fails."""
    temporary = folder / "pip"
    with cache_errors():
        temporary.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", wheel.python, "--abi", f"cp{wheel.python.replace('.', '')}", "--platform", wheel.platform,
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(folder), wheel.requirement,
    ]  # fmt: skip
    report(wheel.file, 0, wheel.size)
    with tempfile.TemporaryFile(dir=temporary) as output:
        # pip writes downloads to its temporary folder, where their size can be monitored
        environment = {**os.environ, "TMPDIR": str(temporary)}
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                report(wheel.file, min(_arrived(folder), wheel.size), wheel.size)
                time.sleep(_INTERVAL)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        said = output.read().decode(errors="replace")
    found = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or not found:
        raise DownloadError(
            f"{wheel.requirement}: pip can't get its wheel ({_reason(said)}); without an index, set GNNPOT_MIRROR to a "
            "folder or URL that has it"
        )
    report(wheel.file, wheel.size, wheel.size)
    return found[0]


def read_member(path: Path, member: str, size: int) -> bytes:
    """Read a file from a wheel.

    Args:
        path: The wheel.
        member: Path of the file in the wheel.
        size: Published size in bytes; from a larger file, one more byte is read, so that its sha256 differs.

    Returns:
        The contents of the file.

    Raises:
        CheckpointError: The wheel is damaged, or does not have the file.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return file.read(size + 1)
    except KeyError:
        raise CheckpointError(f"{path}: holds no {member}; get the release that the potential is from") from None
    except (RuntimeError, NotImplementedError) as error:
        # raised by zipfile for files with a password or an unsupported compression
        raise CheckpointError(
            f"{path}: can't be read ({error}); no published wheel is like that, get it anew"
        ) from None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); get it again") from None


def _arrived(folder: Path) -> int:
    """Return the size of the wheels that pip is writing; files and folders may disappear at any time."""
    total = 0
    # os.walk, unlike Path.rglob, ignores folders that have disappeared
    for root, _, files in os.walk(folder):
        for file in files:
            if file.endswith(".whl"):
                with contextlib.suppress(FileNotFoundError):
                    total += os.stat(os.path.join(root, file)).st_size
    return total


def _reason(said: str) -> str:
    """Return the most informative line of the output of pip."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "No module named pip" in line]
    return (errors or lines or ["it says nothing"])[-1].removeprefix("ERROR: ")
