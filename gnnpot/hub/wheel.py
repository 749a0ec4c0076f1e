"""Wheels of other packages, fetched as files by pip and read as archives: never installed, never executed.

    path = download_wheel(wheel, Path("scratch"), report)
    data = read_member(path, "chgnet/pretrained/0.3.0/….pth.tar", 4863221)

pip is asked for one wheel of those that a release has, for any interpreter and platform: the weights are the
same in each. The user's settings of pip (index, certificates, proxies, constraints) apply.
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
from gnnpot.hub.cache import writing
from gnnpot.hub.download import Report
from gnnpot.hub.registry import Wheel

#: seconds between looks at how far pip is
_INTERVAL = 0.2


def download_wheel(wheel: Wheel, folder: Path, report: Report) -> Path:
    """The wheel as a file in `folder`. Raises `DownloadError` with pip's reason if pip can't get it."""
    temporary = folder / "pip"
    with writing():
        temporary.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--implementation", "cp",
        "--python-version", wheel.python, "--abi", f"cp{wheel.python.replace('.', '')}", "--platform", wheel.platform,
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--dest", str(folder), wheel.requirement,
    ]  # fmt: skip
    report(wheel.file, 0, wheel.size)
    with tempfile.TemporaryFile(dir=temporary) as output:
        # pip writes a download into its temporary folder, where its size can be watched
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
    """A file out of a wheel.

    Args:
        path: the wheel.
        member: the file's name in it.
        size: bytes that were published; of a file with more, one more is read, so that its sha256 is another.

    Raises:
        CheckpointError: if the wheel is damaged or lacks the file.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return file.read(size + 1)
    except KeyError:
        raise CheckpointError(f"{path}: holds no {member}; get the release that the potential is from") from None
    except (RuntimeError, NotImplementedError) as error:
        # zipfile's own errors for members with a password, and with a compression that it does not know
        raise CheckpointError(
            f"{path}: can't be read ({error}); no published wheel is like that, get it anew"
        ) from None
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); get it again") from None


def _arrived(folder: Path) -> int:
    """Bytes of the wheels that pip is writing, whose files and folders may go while they are looked at."""
    total = 0
    # os.walk, unlike Path.rglob, passes over a folder that is gone
    for root, _, files in os.walk(folder):
        for file in files:
            if file.endswith(".whl"):
                with contextlib.suppress(FileNotFoundError):
                    total += os.stat(os.path.join(root, file)).st_size
    return total


def _reason(said: str) -> str:
    """The line of pip's output that tells most."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR") or "No module named pip" in line]
    return (errors or lines or ["it says nothing"])[-1].removeprefix("ERROR: ")
