"""Ends a control plane when the process that started it is gone, however it went (kill -9 included).

Run as ``python guard.py FOLDER``, leader of a process group which the processes of the control plane join. Standard
input is a pipe whose other end only the starter holds: it ends when the starter closes it or dies. Then the whole group
is killed, this process included, and FOLDER is removed. Standard output ends when all of that is done.
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
        os.setsid()  # out of the group, so as to outlive it; its leader is alive, so the number is still the group's
        os.killpg(group, signal.SIGKILL)
        for _ in range(10):  # a file may still appear while the killed ones leave the kernel
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                break
    else:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
