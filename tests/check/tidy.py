"""Runs clang-tidy, with clang's own warnings as errors, over every file of ours.

Files that are compiled as one are checked as one, unless they are asked for by name. What was
preprocessed to the same text, with the same flags and checks, in an earlier clean run is not run again.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TIDY = "clang-tidy-14"


def entries(build, wanted):
    """(files, compile command) of what is ours: in the repository and not generated."""
    commands = json.loads((build / "compile_commands.json").read_text())
    for entry in commands:
        path = pathlib.Path(entry["file"])
        files = [path]
        if path.parent.name == "Unity":
            text = path.read_text()
            files = [pathlib.Path(name) for name in re.findall(r'#include "(/[^"]*)"', text)]
        files = [file for file in files
                 if file.is_relative_to(ROOT) and not file.is_relative_to(ROOT / "build")]
        if not wanted:
            if files:
                yield files, entry
            continue
        for file in files:
            if file in wanted:
                yield [file], {**entry, "file": str(file),
                               "command": entry["command"].replace(str(path), str(file))}


def fingerprint(files, entry, checks):
    """What the result depends on; None when the file does not even preprocess."""
    command = shlex.split(entry["command"])
    if os.path.basename(command[0]) == "ccache":
        command = command[1:]
    output = command.index("-o")
    command[output + 1] = "-"
    run = subprocess.run(command + ["-E"], cwd=entry["directory"], capture_output=True)
    if run.returncode != 0:
        return None
    text = run.stdout
    for file in files:  # NOLINT comments decide too, and are gone after preprocessing
        text += file.read_bytes()
    text += (ROOT / ".clang-tidy").read_bytes() + " ".join([checks, *command]).encode()
    return hashlib.sha256(text).hexdigest()


def check(build, checks, files, entry):
    """(files, seconds, complaint or None)."""
    started = time.monotonic()
    stamps = build / "tidy"
    mark = fingerprint(files, entry, checks)
    if mark and (stamps / mark).exists():
        return files, 0.0, None
    command = shlex.split(entry["command"])
    if os.path.basename(command[0]) == "ccache":
        command = command[1:]
    run = subprocess.run(
        [TIDY, "--quiet", f"--config-file={ROOT / '.clang-tidy'}", f"--checks={checks}",
         entry["file"], "--", *command[1:]],
        capture_output=True, text=True, cwd=entry["directory"])
    if run.returncode == 0:
        if mark:
            (stamps / mark).touch()
        return files, time.monotonic() - started, None
    return files, time.monotonic() - started, run.stdout + run.stderr[-2000:]


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
    # Files compiled as one are included, as .cc files else should not be.
    checks = "clang-diagnostic-*,-bugprone-suspicious-include"
    if not arguments.analyzer:
        checks += ",-clang-analyzer-*"
    todo = sorted(entries(build, wanted), key=lambda entry: -len(entry[0]))
    suite = xml.Element("testsuite", name="clang")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for files, seconds, complaint in pool.map(lambda e: check(build, checks, *e), todo):
            if complaint:
                print(complaint)
            for file in files:
                case = xml.SubElement(suite, "testcase", name=str(file.relative_to(ROOT)),
                                      time=f"{seconds / len(files):.1f}")
                if complaint:
                    xml.SubElement(case, "failure", message="clang-tidy").text = "see the output"
    arguments.junit.parent.mkdir(parents=True, exist_ok=True)
    xml.ElementTree(suite).write(arguments.junit)
    return 1 if suite.find("testcase/failure") is not None else 0


if __name__ == "__main__":
    sys.exit(main())
