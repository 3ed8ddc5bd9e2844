"""Processes that end when they should, and waiting that has a bound."""

import os
import signal
import subprocess
import time


class RigError(Exception):
    """The rig itself could not do its part."""


def run(*command, check=True, timeout=120, **options):
    """Runs a command to its end; the error names it and shows what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=timeout, **options)
    if check and done.returncode != 0:
        raise RigError(f"{' '.join(map(str, command))}: exit {done.returncode}\n"
                       f"{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


def wait_until(what, condition, timeout=15.0, every=0.02):
    """Waits for a true value of condition() and returns it; fails with `what` after `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(every)


class Process:
    """A program in the background, its output in a file."""

    def __init__(self, command, log, **options):
        self.command = [str(part) for part in command]
        self.log = log
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output,
                                          stderr=subprocess.STDOUT, start_new_session=True,
                                          **options)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    def text(self):
        return self.log.read_text(errors="replace")

    def require_running(self):
        if not self.running:
            raise AssertionError(f"{self.command[-3:]} ended with {self.popen.returncode}:\n"
                                 f"{self.text()[-4000:]}")
        return True

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """kill -9, and waits until it is gone."""
        if self.running:
            self.popen.kill()
        return self.popen.wait()

    def stop(self, timeout=12.0):
        """SIGTERM; kill -9 when that does not help. Returns the exit status."""
        if self.running:
            self.popen.send_signal(signal.SIGTERM)
            try:
                return self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                return self.kill()
        return self.popen.returncode

    def cpu_seconds(self):
        """User and system time so far, of all threads."""
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self, field="VmRSS"):
        """VmRSS now, or VmHWM for the highest so far."""
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise RigError(f"no {field} of {self.pid}")
