"""Two revisions held against each other: what counts as a difference, and that each is measured as it was."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_bench import BENCHMARKS
from tpool_asyncio._bench.child_process import BenchError, environment
from tpool_asyncio._bench.comparison import Comparison, Finding, bounds, compare, judge
from tpool_asyncio._bench.courses import COURSES
from tpool_asyncio._bench.figures import Sample
from tpool_asyncio._bench.revisions import BENCH, HERE, PACKAGE, RevisionError, describe, lay_out

pytestmark = pytest.mark.timeout(240)  # programs that measure take their time on a busy machine

Noise = Callable[[random.Random], float]


def findings(noise: Noise, dice: random.Random, head: float, rounds: int = 20, lines: int = 5) -> list[Finding]:
    """Return what a comparison finds whose head takes so many times as long as its base."""
    comparison = Comparison()
    for line in range(lines):
        for _ in range(rounds):
            base_took, head_took = 10 * noise(dice), 10 * noise(dice) * head
            pair = (Sample(base_took, base_took), Sample(head_took, head_took))
            comparison.pairs.setdefault(("course", str(line)), []).append(pair)
    return [finding for by_clock in judge(comparison).values() for finding in by_clock.values()]


def quiet(dice: random.Random) -> float:
    return 1 + abs(dice.gauss(0, 0.01))


def busy(dice: random.Random) -> float:
    """Every now and then somebody else has the processor."""
    return quiet(dice) * (dice.uniform(2, 20) if dice.random() < 0.3 else 1)


def crowded(dice: random.Random) -> float:
    """Somebody else has the processor all the time, more or less."""
    return dice.uniform(1, 3)


class TestVerdicts:
    def test_bounds_are_those_of_the_binomial_distribution(self) -> None:
        values = [float(value) for value in range(20, 0, -1)]
        assert bounds(values, 0.05) == (6, 15)
        assert bounds(values, 0.01) == (4, 17)

    def test_too_few_rounds_have_no_bounds(self) -> None:
        # That all of eight lie on one side of their median happens twice in 256 times, of seven twice in 128 times.
        assert bounds([1.0] * 7, 0.01) is None
        assert bounds([float(value) for value in range(8)], 0.01) == (0, 7)
        assert bounds([], 0.5) is None

    @pytest.mark.parametrize("noise", [quiet, busy, crowded])
    def test_a_revision_against_itself_is_no_difference(self, noise: Noise) -> None:
        dice = random.Random(7)
        comparisons = [findings(noise, dice, 1.0) for _ in range(300)]
        wrong = [found for found in comparisons if {finding.verdict for finding in found} != {"no difference"}]
        assert len(wrong) <= 3

    @pytest.mark.parametrize(("head", "verdict"), [(1.05, "slower"), (0.95, "faster"), (1.0, "no difference")])
    def test_differences_are_found(self, head: float, verdict: str) -> None:
        assert {finding.verdict for finding in findings(quiet, random.Random(1), head)} == {verdict}

    def test_noise_hides_what_is_smaller(self) -> None:
        assert {finding.verdict for finding in findings(crowded, random.Random(1), 1.02)} == {"no difference"}

    def test_what_is_certain_but_tiny_is_none(self) -> None:
        assert Finding(100, 100.5, 1.005, (1.004, 1.006)).verdict == "no difference"
        assert Finding(100, 102, 1.02, (1.019, 1.021)).verdict == "slower"

    def test_few_rounds_say_nothing(self) -> None:
        found = findings(quiet, random.Random(1), 2.0, rounds=5)
        assert {(finding.verdict, finding.bounds) for finding in found} == {("too few rounds", None)}

    def test_a_clock_that_stood_still_says_nothing(self) -> None:
        comparison = Comparison({("a", "b"): [(Sample(1, 0), Sample(2, 1))]})
        assert list(judge(comparison)["a", "b"]) == ["wall"]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with this package, of which an older revision had neither the green floor nor any measurements."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    for name in [name for name in os.environ if name.startswith("COV")]:
        monkeypatch.delenv(name)  # files that are gone in the end cannot be reported on
    root = tmp_path / "repository"
    package = root / PACKAGE.name

    def commit(subject: str) -> None:
        who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
        for command in (["add", "--all"], [*who, "commit", "--quiet", "--message", subject]):
            subprocess.run(["git", "-C", str(root), *command], check=True)

    leave_out = shutil.ignore_patterns("__pycache__", "results", BENCH, "green", "_green")
    shutil.copytree(PACKAGE, package, ignore=leave_out)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / ".gitignore").write_text("__pycache__/\n/benchmarks/results/\n")
    commit("Begin")
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    shutil.copytree(BENCHMARKS, root / "benchmarks", ignore=shutil.ignore_patterns("__pycache__", "results"))
    commit("Go green")
    return root


class TestRevisions:
    def test_the_package_is_that_of_the_revision_and_the_measurements_are_those_of_now(
        self, repository: Path, tmp_path: Path
    ) -> None:
        lay_out("HEAD~1", tmp_path / "base", repository)
        lay_out("HEAD", tmp_path / "head", repository)
        base, head = tmp_path / "base" / PACKAGE.name, tmp_path / "head" / PACKAGE.name
        assert not (base / "green").exists()
        assert (head / "green").exists()
        for package in (base, head):
            assert (package / BENCH / "child.py").read_text() == (PACKAGE / BENCH / "child.py").read_text()

    def test_files_that_are_not_committed(self, repository: Path, tmp_path: Path) -> None:
        init = repository / PACKAGE.name / "__init__.py"
        init.write_text(f"{init.read_text()}\nHERE = 1\n")
        lay_out(HERE, tmp_path / "here", repository)
        lay_out("HEAD", tmp_path / "head", repository)
        assert (tmp_path / "here" / PACKAGE.name / "__init__.py").read_text().endswith("HERE = 1\n")
        assert "HERE" not in (tmp_path / "head" / PACKAGE.name / "__init__.py").read_text()
        assert describe(HERE, repository).endswith("-dirty")
        assert describe("HEAD", repository).endswith(" Go green")

    @pytest.mark.parametrize("revision", ["nonsense", "--output=x"])
    def test_what_is_no_revision(self, repository: Path, tmp_path: Path, revision: str) -> None:
        with pytest.raises(RevisionError, match=r"bad revision|unrecognized argument|ambiguous"):
            describe(revision, repository)

    def test_a_package_that_cannot_be_imported(self, repository: Path, tmp_path: Path) -> None:
        (repository / PACKAGE.name / "__init__.py").write_text("import nonsense\n")
        with pytest.raises(RevisionError, match="cannot be imported: ModuleNotFoundError: No module named 'nonsense'"):
            lay_out(HERE, tmp_path / "here", repository)


class TestCompare:
    def roots(self, repository: Path, folder: Path, base: str) -> dict[str, Path]:
        roots = {"base": folder / "base", "head": folder / "head"}
        lay_out(base, roots["base"], repository)
        lay_out("HEAD", roots["head"], repository)
        return roots

    def test_each_round_has_a_pair(self, repository: Path, tmp_path: Path) -> None:
        seen: list[int] = []
        course = COURSES["submit"]
        roots = self.roots(repository, tmp_path, "HEAD")
        found = compare(roots, [course], 2, quick=True, material=tmp_path, on_round=seen.append)
        assert seen == [0, 1, 2]
        assert found.pairs.keys() == {(course.name, workload.name) for workload in course.workloads}
        for pairs in found.pairs.values():
            assert len(pairs) == 2
            assert all(sample.wall_us > 0 for pair in pairs for sample in pair)
        # A revision against itself: two rounds can never show a difference.
        verdicts = {finding.verdict for by_clock in judge(found).values() for finding in by_clock.values()}
        assert verdicts == {"too few rounds"}

    def test_a_course_that_reads_something(self, repository: Path, tmp_path: Path) -> None:
        roots = self.roots(repository, tmp_path, "HEAD")
        found = compare(roots, [COURSES["rows"]], 1, quick=True, material=tmp_path)
        assert [len(pairs) for pairs in found.pairs.values()] == [1]

    def test_what_base_is_too_old_for_is_left_out(self, repository: Path, tmp_path: Path) -> None:
        roots = self.roots(repository, tmp_path, "HEAD~1")
        found = compare(roots, [COURSES["bridge"], COURSES["submit"]], 1, quick=True, material=tmp_path)
        assert {course for course, _ in found.pairs} == {"submit"}
        assert list(found.left_out) == ["bridge"]
        assert "tpool_asyncio.green" in found.left_out["bridge"] or "cannot import" in found.left_out["bridge"]

    def test_what_head_cannot_do_is_an_error(self, repository: Path, tmp_path: Path) -> None:
        roots = self.roots(repository, tmp_path, "HEAD~1")
        roots = {"base": roots["head"], "head": roots["base"]}
        with pytest.raises(BenchError):
            compare(roots, [COURSES["bridge"]], 1, quick=True, material=tmp_path)


class TestScript:
    def script(self, repository: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, str(repository / "benchmarks" / "compare.py"), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment(repository))

    def test_tables_and_figures(self, repository: Path, tmp_path: Path) -> None:
        path = tmp_path / "compare.json"
        options = ["--quick", "--rounds", "1", "--only", "submit", "bridge", "--json", str(path)]
        done = self.script(repository, "HEAD~1", *options)
        assert done.returncode == 0, done.stderr
        assert "Begin" in done.stdout.splitlines()[0]
        assert "green.await_, green.run is left out, base cannot do it" in done.stdout
        lines = [line for line in done.stdout.splitlines() if line.startswith("tpool.executor().submit: 20 at once")]
        assert [line.endswith("too few rounds") for line in lines] == [True, True]
        results = json.loads(path.read_text())
        assert results["courses"]["submit"]["at_once_20"]["wall"]["verdict"] == "too few rounds"
        assert len(results["courses"]["submit"]["at_once_20"]["samples"]) == 1

    def test_what_cannot_be_compared_is_said(self, repository: Path) -> None:
        done = self.script(repository, "nonsense")
        assert (done.returncode, done.stdout) == (2, "")
        assert "nonsense" in done.stderr
        done = self.script(repository, "HEAD", "--only", "bridge", "--loop", "uvloop")
        assert done.returncode == 2
        assert "none of these courses is measured on uvloop" in done.stderr
