"""`./dev demo`, as a newcomer runs it."""

from rig.agent import ROOT
from rig.process import run


def test_demo():
    done = run("/usr/bin/python3", "-m", "tests.functional.demo", cwd=ROOT, timeout=180)
    lines = done.stdout.splitlines()
    assert any("registry off" in line for line in lines)
    assert sum(line.startswith(("host-a", "host-b", "host-c")) for line in lines) >= 4
