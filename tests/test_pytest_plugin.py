"""The fixture `rfgsm`, in test suites that a user would write."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch

from robustbench_fgsm.options import AttackOptions
from robustbench_fgsm.report.trackers import log_to_active_runs
from robustbench_fgsm.testing import check_lock

NAME = "robustbench_fgsm.pytest_plugin"
ROOT = Path(__file__).parents[1]
MODEL = """
import pytest, torch
from torch import nn

def images(n=300, seed=0):
    made = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    return torch.rand(n, 1, 4, 4, generator=made) / 2 + torch.eye(4)[labels].reshape(n, 1, 1, 4) / 2, labels

def model(noise=0.0):
    torch.manual_seed(0)
    layer = nn.Linear(16, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4)[:3].repeat(1, 4) + noise * torch.randn(3, 16))
        layer.bias.zero_()
    return nn.Sequential(nn.Flatten(), layer)
"""
TEST = """
from models import images, model

def test_robustness(rfgsm):
    rfgsm.check(model({noise}), images({images}), eps="{eps}")
"""


@pytest.fixture(scope="module")
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load all modules that a check loads: those of PyTorch cannot be loaded twice in a process."""
    torch.manual_seed(0)
    network, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)), torch.rand(4, 1, 2, 2)
    found = check_lock(
        network, (images, torch.tensor([0, 1, 2, 0])), AttackOptions(), tmp_path_factory.mktemp("lock") / "lock", update=True
    )
    found.add_to_job_summary()
    log_to_active_runs({}, found.evaluation)


@pytest.fixture
def suite(pytester: pytest.Pytester, _loaded: None) -> pytest.Pytester:
    """A test suite with a model, in a folder of its own, and no lock yet."""
    pytester.makeini("[pytest]\nfilterwarnings = error\npythonpath = .")
    pytester.makepyfile(models=MODEL)
    write(pytester)
    return pytester


def write(suite: pytest.Pytester, noise: float = 0.0, images: str = "", eps: str = "8/255") -> None:
    folder = suite.path / "tests"
    folder.mkdir(exist_ok=True)
    (folder / "test_model.py").write_text(TEST.format(noise=noise, images=images, eps=eps), encoding="utf-8")


def run(suite: pytest.Pytester, *words: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", NAME, "-p", "no:cacheprovider", *words)


@pytest.fixture
def locked(suite: pytest.Pytester) -> pytest.Pytester:
    """The suite with its first lock."""
    result = run(suite, "--rfgsm-update")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_robustness: wrote tests/robustness.lock, commit it"])
    return suite


def test_without_a_lock_a_test_fails_with_a_remedy_that_works(suite: pytest.Pytester) -> None:
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *RunError: robustness.lock must lie beside the test or above it, got none: run pytest --rfgsm-update, and commit *"]
    )
    run(suite, "--rfgsm-update").assert_outcomes(passed=1)
    run(suite).assert_outcomes(passed=1)


def test_an_equal_model_passes_and_says_nothing(locked: pytest.Pytester) -> None:
    result = run(locked)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*robustness.lock*")


def test_a_worse_model_fails_with_what_moved(locked: pytest.Pytester) -> None:
    write(locked, noise=0.5)
    result = run(locked)
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"E +AssertionError: Sequential \(given\) is less robust than Sequential \(given\) of "
            r"tests/robustness\.lock \(other weights\), 300.*",
            r"E +all images at epsilon 8/255: [\d.]+ % -> [\d.]+ % right, fell by [\d.]+ points \(at least [\d.]+; "
            r"adjusted p .*\); \d+ of 300 lost, \d+ gained",
        ]
    )
    result.stdout.no_fnmatch_line("*/robustbench_fgsm/*")


def test_a_better_model_passes_and_asks_to_update(suite: pytest.Pytester) -> None:
    write(suite, noise=0.5)
    run(suite, "--rfgsm-update").assert_outcomes(passed=1)
    write(suite)
    result = run(suite)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*better than tests/robustness.lock, so lock it: pytest --rfgsm-update"])
    run(suite, "--rfgsm-update").assert_outcomes(passed=1)
    run(suite).stdout.no_fnmatch_line("*better than*")


@pytest.mark.parametrize(
    ("images", "eps", "message"),
    [
        ("seed=1", "8/255", "run and baseline must be on the same images, got 300 of * which differ in 3 of 3 classes*"),
        ("n=299", "8/255", "*got 299 of * and 300 of * which differ in 1 of 3 classes (2 with 99 and 100 images)*"),
        ("", "4/255", "run and baseline must have the same epsilons, got 4/255 and 8/255*"),
    ],
)
def test_other_data_or_budgets_are_an_error(locked: pytest.Pytester, images: str, eps: str, message: str) -> None:
    write(locked, images=images, eps=eps)
    result = run(locked)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *RunError: {message}"])
    result.stdout.no_fnmatch_line("*/robustbench_fgsm/*")


def test_a_damaged_lock_is_an_error(locked: pytest.Pytester) -> None:
    lock = locked.path / "tests" / "robustness.lock"
    lock.write_text(lock.read_text(encoding="utf-8").replace("3", "4", 1), encoding="utf-8")
    result = run(locked)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RunError: tests/robustness.lock must be as rfgsm wrote it, got one with another checksum*"])
    run(locked, "--rfgsm-update").assert_outcomes(passed=1)


def test_the_nearest_lock_upwards_is_used_and_written(locked: pytest.Pytester) -> None:
    above = (locked.path / "tests" / "robustness.lock").rename(locked.path / "robustness.lock")
    run(locked).assert_outcomes(passed=1)
    write(locked, noise=0.5)
    run(locked).assert_outcomes(failed=1)
    before = above.read_bytes()
    run(locked, "--rfgsm-update").assert_outcomes(passed=1)
    assert above.read_bytes() != before
    assert not (locked.path / "tests" / "robustness.lock").exists()


def test_two_models_need_two_locks(suite: pytest.Pytester) -> None:
    test = suite.path / "tests" / "test_model.py"
    second = "\ndef test_other(rfgsm):\n    rfgsm.check(model(0.5), images(), lock='{}.lock')\n"
    test.write_text(test.read_text(encoding="utf-8") + second.format("robustness"), encoding="utf-8")
    result = run(suite, "--rfgsm-update")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*each lock must have one test, got a second one for tests/robustness.lock: pass lock='NAME.lock'*"]
    )
    test.write_text(TEST.format(noise=0.0, images="", eps="8/255") + second.format("other"), encoding="utf-8")
    run(suite, "--rfgsm-update").assert_outcomes(passed=2)
    run(suite).assert_outcomes(passed=2)


def test_distances_that_cannot_differ_are_said_and_the_remedy_works(suite: pytest.Pytester) -> None:
    test = suite.path / "tests" / "test_model.py"
    text = test.read_text(encoding="utf-8")
    said = (
        "*test_robustness: distances of 0 of 300 images can differ, too few to show *raise --max-epsilon, now 0.0001, in both runs"
    )
    for largest in ("0.0001", "0.5"):
        test.write_text(text.replace(', eps="8/255"', f', on="distance", max_epsilon={largest}'), encoding="utf-8")
        run(suite, "--rfgsm-update").assert_outcomes(passed=1)
        result = run(suite)
        result.assert_outcomes(passed=1)
        (result.stdout.fnmatch_lines if largest == "0.0001" else result.stdout.no_fnmatch_line)(said)


MACHINE_TEST = """
import torch
import robustbench_fgsm as rf
from torch.utils.data import DataLoader, TensorDataset

def check(rfgsm, weights):
    network = rf.load_classifier("smallcnn", weights=weights).network.to(memory_format=torch.{layout})
    (whole,) = rf.load_data("fashion-mnist", limit=100).batches(0, 100, 100)
    loader = DataLoader(TensorDataset(whole.images, whole.labels), {size}, shuffle={shuffle})
    return rfgsm.check(network, loader, eps="2,8/255", on="both")

def test_equal(rfgsm):
    found = check(rfgsm, "robust")
    assert {{(drop.pairs.lost, drop.pairs.gained) for drop in found.drops}} == {{(0, 0)}}
    assert {{(test.closer, test.farther) for test in found.decreases}} == {{(0, 0)}}
"""
WORSE = """
def test_worse(rfgsm):
    check(rfgsm, "standard")
"""


@pytest.mark.parametrize(("threads", "kernels"), [("1", "default"), ("2", "")])
def test_a_lock_holds_on_another_machine(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, threads: str, kernels: str
) -> None:
    """Number of threads, instructions of the CPU, memory layout, batch size and order are others; the verdict is not."""
    test = suite.path / "tests" / "test_model.py"
    test.write_text(MACHINE_TEST.format(layout="contiguous_format", size=100, shuffle=False), encoding="utf-8")
    run(suite, "--rfgsm-update").assert_outcomes(passed=1)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    if kernels:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", kernels)
    test.write_text(MACHINE_TEST.format(layout="channels_last", size=32, shuffle=True) + WORSE, encoding="utf-8")
    result = suite.runpytest_subprocess("-p", NAME, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: PixelSpaceNetwork (given) is less robust than *"])


def test_copies_are_said(locked: pytest.Pytester) -> None:
    models = locked.path / "models.py"
    twice = "\ndef twice():\n    x, y = images()\n    return torch.cat([x, x]), torch.cat([y, y])\n"
    models.write_text(models.read_text(encoding="utf-8") + twice, encoding="utf-8")
    test = locked.path / "tests" / "test_model.py"
    text = test.read_text(encoding="utf-8").replace("images()", "twice()").replace("import images", "import twice")
    test.write_text(text, encoding="utf-8")
    run(locked, "--rfgsm-update").assert_outcomes(passed=1)
    run(locked).stdout.fnmatch_lines(["*test_robustness: 300 of 600 images repeat another image of their class: each counts once"])


def test_options_are_those_of_the_gate(locked: pytest.Pytester) -> None:
    test = locked.path / "tests" / "test_model.py"
    write(locked, noise=0.5)
    text = test.read_text(encoding="utf-8")
    test.write_text(text.replace('eps="8/255"', 'eps="8/255", max_drop=1.0'), encoding="utf-8")
    run(locked).assert_outcomes(passed=1)
    test.write_text(text.replace('eps="8/255"', 'eps="8/255", max_drop=2.0'), encoding="utf-8")
    run(locked).stdout.fnmatch_lines(["E *SettingError: max drop must be a share in *"])
    test.write_text(text.replace('eps="8/255"', 'eps="8/255", max_drp=1.0'), encoding="utf-8")
    run(locked).stdout.fnmatch_lines(["E *SettingError: a check must have arguments of *, got max_drp: did you mean *max_drop*"])


def test_a_mistyped_option_writes_no_lock(locked: pytest.Pytester) -> None:
    lock = locked.path / "tests" / "robustness.lock"
    write(locked, noise=0.5)
    test, before = locked.path / "tests" / "test_model.py", lock.read_bytes()
    test.write_text(test.read_text(encoding="utf-8").replace('eps="8/255"', 'eps="8/255", on="distances"'), encoding="utf-8")
    for words in ((), ("--rfgsm-update",)):
        run(locked, *words).stdout.fnmatch_lines(["E *SettingError: on must be one of *did you mean distance*"])
    assert lock.read_bytes() == before


def test_junit_xml_has_the_numbers(locked: pytest.Pytester) -> None:
    write(locked, noise=0.5)
    run(locked, "--junitxml=report.xml").assert_outcomes(failed=1)
    found = {item.get("name"): item.get("value") for item in ET.parse(locked.path / "report.xml").iter("property")}
    assert found["rfgsm_verdict"] == "failed"
    assert found["rfgsm_lock"] == "tests/robustness.lock"
    assert 0 < float(found["rfgsm_accuracy_eps_8_255"] or "nan") < 1
    assert float(found["rfgsm_drop_eps_8_255"] or "nan") > 0


def test_a_job_of_github_gets_an_annotation_and_a_summary(locked: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    write(locked, noise=0.5)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(locked.path / "summary.md"))
    run(locked).stdout.fnmatch_lines(["::error file=tests/test_model.py,line=*,title=robustness fell::AssertionError: Sequential*"])
    assert (locked.path / "summary.md").read_text(encoding="utf-8").startswith("**FAILED: accuracy fell")


def test_processes_that_share_the_tests_report_alike(locked: pytest.Pytester) -> None:
    write(locked, noise=0.5)
    run(locked, "--rfgsm-update")
    write(locked)
    result = locked.runpytest_subprocess("-p", NAME, "-n", "1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*better than tests/robustness.lock*"])


def test_processes_that_write_one_lock_are_named(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    second = "\ndef test_other(rfgsm):\n    rfgsm.check(model(0.5), images())\n"
    (suite.path / "tests" / "test_model.py").write_text(TEST.format(noise=0.0, images="", eps="8/255") + second, encoding="utf-8")
    result = suite.runpytest_subprocess("-p", NAME, "-n", "2", "--rfgsm-update")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "tests/robustness.lock was written by 2 tests, and holds the last one: *",
            "--rfgsm-update judged no model: leave it out in CI*",
        ]
    )


def test_collection_loads_neither_torch_nor_numpy(pytester: pytest.Pytester) -> None:
    code = (
        f"import sys, pytest; pytest.main(['-p', {NAME!r}, '--fixtures', '-q']); "
        "print({'torch', 'numpy', 'art'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=pytester.path)
    assert "rfgsm -- " in done.stdout
    assert done.stdout.rstrip().endswith("set()")


def test_the_plugin_is_declared_and_switched_off_for_this_suite() -> None:
    """It would be imported before the coverage starts, and its lines would count as not run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {NAME: NAME}
    words = project["tool"]["pytest"]["ini_options"]["addopts"]
    assert words[words.index(f"no:{NAME}") - 1] == "-p"
