"""Stop a control plane when the process that started it has ended, however it ended (kill -9 included).

It runs as ``python guard.py FOLDER``, as the leader of a process group that the processes of the control plane join.
Its standard input is a pipe from the starter, which ends when the starter closes it or dies. Then the guard kills the
whole group, itself included, and removes FOLDER. Its standard output ends when all of that is done.
"""

import os
import shutil
import signal
import sys
from pathlib import Path


def main(folder: Path) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.buffer.read()
    group = os.getpgid(0)
    if os.fork() == 0:
        os.setsid()  # leaves the group to outlive it; the leader is alive, so the group keeps its number
        os.killpg(group, signal.SIGKILL)
        for _ in range(10):  # a file may still appear while the killed processes end
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
    else:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
