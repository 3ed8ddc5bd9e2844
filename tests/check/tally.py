"""Counts the test cases of one phase: `tally.py DIR STATUS` prints "PASSED FAILED".

DIR holds JUnit XML: pytest's, ctest's (ctest.xml) and GoogleTest's (one file for each program). A
program that ctest saw fail, and whose own cases all passed or are not there because it crashed,
counts as one failed case. So does a skipped case, and a phase that failed without a failed case.
"""

import pathlib
import sys
import xml.etree.ElementTree as xml


def cases(path):
    """(name, passed) for each case of a JUnit file."""
    for case in xml.parse(path).getroot().iter("testcase"):
        bad = any(case.find(tag) is not None for tag in ("failure", "error", "skipped"))
        bad = bad or case.get("status") in ("notrun", "fail", "disabled")
        bad = bad or case.get("result") in ("skipped", "suppressed")
        yield case.get("name"), not bad


def tally(folder, status):
    """(passed, failed) of the files in `folder`, of a phase that ended with `status`."""
    passed = failed = 0
    ctest = pathlib.Path(folder) / "ctest.xml"
    programs = dict(cases(ctest)) if ctest.exists() else {}
    for path in sorted(pathlib.Path(folder).glob("*.xml")):
        if path == ctest:
            continue
        try:
            good = [ok for _, ok in cases(path)]
        except xml.ParseError:  # cut short by a crash; ctest.xml tells of it
            continue
        passed += sum(good)
        failed += len(good) - sum(good)
        if path.stem in programs and all(good) == programs[path.stem]:
            del programs[path.stem]
    for ok in programs.values():
        passed += ok
        failed += not ok
    if status != 0 and failed == 0:
        failed = 1
    if status == 0 and failed == 0 and passed == 0:
        passed = 1
    return passed, failed


if __name__ == "__main__":
    print(*tally(sys.argv[1], int(sys.argv[2])))
