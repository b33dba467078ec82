"""`make long`: the tests that take above a minute, and what came of them; writes RESULTS.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    """Run them one after the other; returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.long", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    parser.add_argument("tests", nargs="*", default=["tests"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        told = Path(directory, "told.xml")
        # Nothing beside them: some hold bounds of time and memory.
        command = [sys.executable, "-m", "pytest", "-m", "long", f"--junit-xml={told}"]
        code = subprocess.run([*command, *arguments.tests], check=False).returncode
        if arguments.write and told.exists():
            RESULTS.write_text(_report(told))
    return code


def _report(told: Path) -> str:
    rows = ["| test | what came of it | seconds |", "|---|---|---|"]
    for case in ET.parse(told).iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        came = "failed" if failed else "skipped" if case.find("skipped") is not None else "passed"
        name = f"{case.get('classname', '').removeprefix('tests.')}.{case.get('name')}"
        rows.append(f"| {name} | {came} | {float(case.get('time', 0)):.0f} |")
    return "# The long tests: what was seen\n\n" + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
