"""Workers end with the process that started them."""

import signal
import subprocess
import sys

import psutil

#: starts a worker that is busy for an hour, tells its number, and waits
PARENT = """
import multiprocessing, sys, time
from gnnpot.runs.processes import end_with_parent

def work():
    end_with_parent()
    print("begun", flush=True)
    time.sleep(3600)

if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    worker.start()
    print(worker.pid, flush=True)
    worker.join()
"""


def test_worker_ends_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(parent.stdout.readline()))
    assert parent.stdout.readline() == "begun\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    try:
        gone, alive = psutil.wait_procs([worker], timeout=60)
    finally:
        if psutil.pid_exists(worker.pid) and worker.is_running():
            worker.kill()
    assert gone and not alive
