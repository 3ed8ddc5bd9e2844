"""Runs clang-tidy, with clang's own warnings as errors, over every file of ours.

A file whose preprocessed text, flags and checks are those of an earlier clean run is not run again.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIDY = "clang-tidy-14"


def entries(build):
    """The compile commands of files that are ours: in the repository and not generated."""
    commands = json.loads((build / "compile_commands.json").read_text())
    for entry in commands:
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(ROOT) and not path.is_relative_to(ROOT / "build"):
            yield path, entry


def fingerprint(entry, checks):
    """What the result depends on; None when the file does not even preprocess."""
    command = shlex.split(entry["command"])
    if os.path.basename(command[0]) == "ccache":
        command = command[1:]
    output = command.index("-o")
    command[output + 1] = "-"
    run = subprocess.run(command + ["-E"], cwd=entry["directory"], capture_output=True)
    if run.returncode != 0:
        return None
    # NOLINT comments decide too, and are gone after preprocessing.
    text = run.stdout + pathlib.Path(entry["file"]).read_bytes()
    text += (ROOT / ".clang-tidy").read_bytes() + " ".join([checks, *command]).encode()
    return hashlib.sha256(text).hexdigest()


def check(build, checks, path, entry):
    """(path, seconds, complaint or None)."""
    started = time.monotonic()
    stamps = build / "tidy"
    mark = fingerprint(entry, checks)
    if mark and (stamps / mark).exists():
        return path, 0.0, None
    run = subprocess.run(
        [TIDY, "--quiet", f"-p={build}", f"--checks={checks}", str(path)],
        capture_output=True, text=True, cwd=ROOT)
    if run.returncode == 0:
        if mark:
            (stamps / mark).touch()
        return path, time.monotonic() - started, None
    return path, time.monotonic() - started, run.stdout + run.stderr[-2000:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--junit", type=pathlib.Path, required=True)
    parser.add_argument("--analyzer", action="store_true",
                        help="with clang's static analyzer, which takes twice as long as the rest")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    (build / "tidy").mkdir(exist_ok=True)
    wanted = {file.resolve() for file in arguments.files}
    checks = "clang-diagnostic-*" + ("" if arguments.analyzer else ",-clang-analyzer-*")
    todo = [e for e in entries(build) if not wanted or e[0] in wanted]
    suite = xml.Element("testsuite", name="clang")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for path, seconds, complaint in pool.map(lambda e: check(build, checks, *e), todo):
            case = xml.SubElement(suite, "testcase", name=str(path.relative_to(ROOT)),
                                  time=f"{seconds:.1f}")
            if complaint:
                print(complaint)
                xml.SubElement(case, "failure", message="clang-tidy").text = "see the output"
    arguments.junit.parent.mkdir(parents=True, exist_ok=True)
    xml.ElementTree(suite).write(arguments.junit)
    return 1 if suite.find("testcase/failure") is not None else 0


if __name__ == "__main__":
    sys.exit(main())
