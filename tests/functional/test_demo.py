"""`./dev demo`, as a newcomer runs it."""

import re
import signal
import subprocess
import urllib.request

from rig.agent import ROOT
from rig.process import run

DEMO = ["/usr/bin/python3", "-B", "-m", "tests.functional.demo"]


def rows(text):
    """{host and note: (from peers, from upstream, sources)}"""
    size = r"(\S+(?: \w?B)?)"
    found = re.findall(rf"^(host-\w \(.*?\)) +[\d.]+ s +{size} +{size}  (.*)$", text, re.M)
    return {row[0]: row[1:] for row in found}


def test_demo():
    table = rows(run(*DEMO, cwd=ROOT, timeout=180).stdout)
    assert table["host-a (nobody has it)"][0] == "-"
    assert "registry" in table["host-a (nobody has it)"][2]
    for row in ("host-b (peers have it)", "host-c (peers have it)", "host-c (registry off)"):
        peers, _, sources = table[row]
        assert peers.endswith(" MB") and "registry 1" not in sources, (row, table[row])
    assert table["host-c (registry off)"][1] == "-"
    assert all(host in table["host-c (registry off)"][2] for host in ("host-a", "host-b"))


def test_demo_keep_leaves_it_running_where_a_browser_reaches_it():
    demo = subprocess.Popen([*DEMO, "--keep"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        pages = {}
        for line in demo.stdout:
            page = re.fullmatch(r"  (http://\S+/)   (host-\w)\n", line)
            if page:
                pages[page[2]] = page[1]
            if line.startswith("and try"):
                break
        assert set(pages) == {"host-a", "host-b", "host-c"}
        for url in pages.values():
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert answer.status == 200 and b"<html" in answer.read()
        assert demo.poll() is None
    finally:
        demo.send_signal(signal.SIGINT)
    demo.stdout.close()
    assert demo.wait(60) == 0
