"""Fixtures: a rig of one's own for each test, logs when it fails."""

import pytest

from rig.faulty import FaultyRegistry
from rig.liar import Liar
from rig.rig import Rig


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed = report.failed


@pytest.fixture
def rig(request):
    """Hosts of one test."""
    failed_before = request.session.testsfailed
    rig = Rig()
    try:
        yield rig
        if request.session.testsfailed > failed_before or getattr(request.node, "failed", False):
            rig.show_logs()
    finally:
        rig.close()


@pytest.fixture(scope="module")
def shared(request):
    """Hosts of all tests in a file, for tests that do not disturb each other."""
    failed_before = request.session.testsfailed
    rig = Rig()
    try:
        yield rig
        if request.session.testsfailed > failed_before:
            rig.show_logs()
    finally:
        rig.close()


@pytest.fixture
def faulty(rig):
    """Makes upstreams that misbehave: faulty("name.test", bearer=...)."""
    made = []

    def make(name="faulty.test", host="upstream", **options):
        made.append(FaultyRegistry(rig.host(host), name, **options))
        return made[-1]

    yield make
    for registry in made:
        registry.close()


@pytest.fixture
def liar(rig):
    """Makes peers that lie: liar(blobs)."""
    made = []

    def make(blobs, host="liar", **options):
        made.append(Liar(rig.host(host), blobs, **options))
        return made[-1]

    yield make
    for peer in made:
        peer.close()
