"""What a process may still take, by the limits that batch systems and containers set."""

import subprocess
import sys
from pathlib import Path

import pytest

from gnnpot.graphs.free_memory import free_memory

MIB = 2**20


def proc(folder: Path, cgroup: str, mountinfo: str) -> Path:
    folder.mkdir()
    (folder / "status").write_text(f"Name:\tpython\nVmSize:\t{1024} kB\nVmData:\t{512} kB\n")
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(mountinfo)
    return folder


def group(folder: Path, **values: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("memory_", "memory.")).write_text(f"{value}\n")


def test_the_machine():
    assert free_memory().bytes > 0


@pytest.mark.parametrize("root", ["/", "/docker/abc"])
def test_control_groups_of_version_2(tmp_path, root):
    mount = tmp_path / "cgroup"
    path = proc(
        tmp_path / "proc",
        f"0::{root.rstrip('/')}/job/step\n",
        f"30 24 0:26 {root} {mount} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n",
    )
    group(mount / "job/step", memory_max="max", memory_current=10)
    assert free_memory(path).limit == ""
    # of a parent; pages of files can be dropped
    group(mount / "job", memory_max=100 * MIB, memory_current=70 * MIB, memory_stat=f"anon 1\ninactive_file {20 * MIB}")
    assert (free_memory(path).bytes, free_memory(path).limit) == (50 * MIB, f"the control group {mount}/job")
    group(mount / "job/step", memory_max=60 * MIB, memory_current=59 * MIB)
    assert free_memory(path).bytes == MIB
    group(mount / "job/step", memory_max=60 * MIB, memory_current=61 * MIB)
    assert free_memory(path).bytes == 0


def test_control_groups_of_version_1(tmp_path):
    mount = tmp_path / "memory"
    path = proc(
        tmp_path / "proc",
        "11:cpu,cpuacct:/a\n9:memory:/slurm/job_7\n0::/other\n",
        f"31 24 0:27 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        f"32 24 0:28 / {mount} rw - cgroup cgroup rw,memory\n",
    )
    unlimited = 9223372036854771712
    group(mount, memory_limit_in_bytes=unlimited, memory_usage_in_bytes=5 * MIB)
    group(mount / "slurm/job_7", memory_limit_in_bytes=30 * MIB, memory_usage_in_bytes=10 * MIB)
    assert free_memory(path).bytes == 20 * MIB


@pytest.mark.parametrize("text", ["", "nonsense", "0::", "0::/a\n\n:::\n", "x - y"])
def test_what_can_not_be_read_limits_nothing(tmp_path, text):
    assert free_memory(proc(tmp_path / "proc", text, text)).limit == ""
    assert free_memory(tmp_path / "nothing").bytes > 0


LIMITED = """
import resource, sys
import psutil
from gnnpot.graphs.free_memory import free_memory
limit = psutil.Process().memory_info().vms + 2**27
resource.setrlimit(getattr(resource, sys.argv[1]), (limit, limit))
free = free_memory()
print(free.bytes, free.limit)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.parametrize(("limit", "words"), [("RLIMIT_AS", "ulimit -v"), ("RLIMIT_DATA", "ulimit -d")])
def test_limits_of_the_process(limit, words):
    output = subprocess.run([sys.executable, "-c", LIMITED, limit], check=True, capture_output=True, text=True).stdout
    number, _, found = output.strip().partition(" ")
    # of data, the process has less than of addresses
    assert int(number) > 0 and found == words
    assert int(number) <= 2**27 or limit == "RLIMIT_DATA"
