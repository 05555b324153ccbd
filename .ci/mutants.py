"""How many small faults in a room its tests notice: a sample of cosmic-ray's mutants.

    pip install cosmic-ray coverage && python .ci/mutants.py metrics -n 30

One fault at a time, in a copy: of different lines, which are drawn at random; not in annotations.
Of the tests, those run that come by the line, the quick ones first, up to ``--seconds`` in all.
"""

import argparse
import ast
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import coverage
import matplotlib.pyplot  # noqa: F401
import mne.decoding  # noqa: F401
import pandas  # noqa: F401
import pytest
import sklearn.pipeline  # noqa: F401
import torch
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]


class Watch:
    """Which lines each test comes by, and how long it takes."""

    def __init__(self, source):
        self.coverage = coverage.Coverage(None, config_file=False, source=[str(source)])
        self.took = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        """Count what is set up for all tests of the file."""
        self.coverage.switch_context(item.nodeid.split("::")[0])
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        """Count what is run for the test."""
        self.coverage.switch_context(item.nodeid)
        began = time.process_time()
        result = yield
        self.took[item.nodeid] = time.process_time() - began
        return result


def forked(function, seconds):
    """Run a function in a child; return its status, or None where it took too long."""
    if (pid := os.fork()) == 0:
        status = 70
        try:
            os.setsid()
            said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for stream in (1, 2):
                os.dup2(said, stream)
            status = int(function())
        finally:
            os._exit(status)
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if (ended := os.waitpid(pid, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(ended[1])
        time.sleep(0.05)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def baseline(room, tests, out):
    """Run the tests as they are; write which come by which line."""
    watch = Watch(Path("mne_img2brain") / room)
    watch.coverage.start()
    status = pytest.main(["-q", "-p", "no:cacheprovider", "-m", "not slow", *tests], [watch])
    watch.coverage.stop()
    data = watch.coverage.get_data()
    lines = {str(Path(file).relative_to(Path.cwd())): data.contexts_by_lineno(file)
             for file in data.measured_files()}  # fmt: skip
    Path(out).write_text(json.dumps({"took": watch.took, "lines": lines}))
    return status


def mutants(file):
    """List the faults that can be made in a file: line, operator, which of its occurrences."""
    text = file.read_text()
    notes = [(node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
             for parent in ast.walk(ast.parse(text))
             for node in (getattr(parent, "annotation", None), getattr(parent, "returns", None))
             if node is not None]  # fmt: skip
    found = []
    for name in operator_names():
        if (kind := get_operator(name)).arguments():
            continue
        places = (p for node in ast_nodes(get_ast(text)) for p in kind().mutation_positions(node))
        for i, (start, _) in enumerate(places):
            if not any(note[:2] <= start < note[2:] for note in notes):
                found.append((start[0], name, i))
    return found


def main():
    """Sample faults, run tests, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", help="a folder of mne_img2brain")
    parser.add_argument("tests", nargs="*", help="default: the folder of tests of that name")
    parser.add_argument("-n", type=int, default=30, help="how many faults (default 30)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=15, help="of tests for each fault")
    options = parser.parse_args()
    tests = options.tests or [f"tests/{options.room}"]
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory() as scratch:
        left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", "_build", "auto_examples")
        shutil.copytree(ROOT, scratch, ignore=left_out, dirs_exist_ok=True)
        os.chdir(scratch)
        sys.path[:] = [scratch, *(path for path in sys.path if path != str(ROOT))]
        if forked(lambda: baseline(options.room, tests, "baseline.json"), 3600) != 0:
            sys.exit("The tests do not pass as they are:\n" + Path("said.txt").read_text()[-3000:])
        known = json.loads(Path("baseline.json").read_text())
        took = known["took"]
        print(f"{len(took)} tests pass in {sum(took.values()):.0f} s.", flush=True)  # noqa: T201
        by_line = {}
        for file in sorted(Path("mne_img2brain", options.room).glob("*.py")):
            for line, *fault in mutants(file):
                by_line.setdefault((file, line), []).append(fault)
        rng = random.Random(options.seed)
        counts = {"killed": 0, "too slow": 0, "survived": 0, "not run": 0}
        for file, line in rng.sample(sorted(by_line), min(options.n, len(by_line))):
            operator, occurrence = rng.choice(by_line[file, line])
            contexts = known["lines"].get(str(file), {}).get(str(line), [])
            come_by = [test for test in took
                       if {test, test.split("::")[0], ""} & set(contexts)]  # fmt: skip
            chosen, left = [], options.seconds
            for test in sorted(come_by, key=took.get):
                left -= took[test]
                if left > 0 or not chosen:
                    chosen.append(test)
            text = file.read_text()
            faulty = mutate_code(text, get_operator(operator)(), occurrence)
            change = next(b for a, b in zip(text.splitlines(), faulty.splitlines(), strict=False)
                          if a != b)  # fmt: skip
            file.write_text(faulty)
            status = forked(
                lambda chosen=chosen: pytest.main(["-x", "-q", "-p", "no:cacheprovider", *chosen]),
                60 + 20 * options.seconds,
            ) if chosen else 0  # fmt: skip
            file.write_text(text)
            outcome = "too slow" if status is None else "killed" if status else "survived"
            outcome = outcome if chosen else "not run"
            counts[outcome] += 1
            about = f"{file}:{line} {operator.split('/')[-1]}: {change.strip()}"
            print(f"{outcome:9}{len(chosen):4} of {len(come_by)} tests  {about}", flush=True)  # noqa: T201
        print(options.room, counts, f"of {len(by_line)} lines, seed {options.seed}")  # noqa: T201


if __name__ == "__main__":
    main()
