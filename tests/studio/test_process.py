"""`gnnpot studio` as a process: it answers to its token, and leaves nothing behind when it is ended."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="needs the extra studio")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_answers_and_leaves_nothing(tmp_path, number, status):
    command = [sys.executable, "-m", "gnnpot", "studio", "--no-browser"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "200"}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment,
        # a shell's background jobs, and what they start, ignore interrupts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )  # fmt: skip
    try:
        lines = iter(process.stdout.readline, "")
        address = next(found.group(0) for line in lines if (found := re.search(r"http://\S+", line)))
        base, _, token = address.partition("/?token=")
        request = urllib.request.Request(
            f"{base}/sessions", method="POST", headers={"Authorization": f"Bearer {token}"}
        )
        assert re.fullmatch("[0-9a-f]{16}", json.load(urllib.request.urlopen(request))["name"])
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{base}/data")
        assert list(tmp_path.glob("gnnpot-studio-*"))
        process.send_signal(number)
        assert process.wait(120) == status
        assert not list(tmp_path.glob("gnnpot-studio-*"))
    finally:
        process.kill()
        process.wait()
