"""A program on a terminal of its own."""

import contextlib
import os
import pty
import subprocess


def drawn_by(command, timeout=60):
    """(exit code, what it wrote) of a command whose output is a terminal."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                               stdout=theirs)
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # how a terminal without a writer ends
        while some := os.read(ours, 65536):
            drawn += some
    os.close(ours)
    return program.wait(timeout), drawn.decode()
