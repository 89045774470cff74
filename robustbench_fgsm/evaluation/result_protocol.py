"""What every result has: a record of its run, and short text, HTML, figure and page, made from its JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from robustbench_fgsm.data.bad_sample import BadSample
from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.evaluation.document import Document

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, repr=False)
class Measurement:
    """What a result records of its images and of its run.

    Attributes:
        data: the data set, as in the JSON document.
        environment: versions and devices.
        seconds: duration of the run.
        bad: unreadable samples, which no count includes; more than `max_bad` of them make the run invalid.
    """

    data: dict[str, Any]
    environment: dict[str, str | int]
    seconds: float
    bad: tuple[BadSample, ...] = ()
    max_bad: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""
        return tuple(self.data["classes"])


class Result(Protocol):
    """Result of a command, shown by a notebook as the tables of the command line."""

    def to_dict(self) -> Document:
        """Return the JSON document of the command line."""

    @property
    def invalid_reasons(self) -> list[str]:
        """Reasons why the numbers must not be used."""
        return []

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0, or 1 if the numbers must not be used."""
        return EXIT_NEGATIVE_RESULT if self.invalid_reasons else EXIT_SUCCESS

    def __repr__(self) -> str:
        """Return the name of the class, what was measured, and the answer: a few lines."""
        from robustbench_fgsm.report.summarize import short_summary

        return short_summary(type(self).__name__, self.to_dict())

    def _repr_html_(self) -> str:
        """Return the tables of the command line as HTML for a notebook."""
        from robustbench_fgsm.report.summarize import summarize
        from robustbench_fgsm.report.tables.html import summary_to_html

        return summary_to_html(summarize(self.to_dict()))


@runtime_checkable
class ReportedResult(Result, Protocol):
    """Result that also has figures and a page."""

    def plot(self, kind: str = "confusion", *, epsilon: float | None = None, targeted: str | None = None) -> Figure:
        """Draw a figure of `rfgsm plot`; a notebook shows it if it is the last value of a cell.

        Args:
            kind: `confusion`, `curve` or `per-class`. A transfer, a training and a verification have one figure each, whatever
                the kind. `gallery` needs a run that kept images: `load_run(directory).plot("gallery")`.
            epsilon: a budget of the result; by default 8/255, or else the largest.
            targeted: targeting rule of a sweep; by default the first.

        Raises:
            SettingError: the result has no such kind, budget or rule.
        """
        from robustbench_fgsm.report.figures.gallery import draw_run
        from robustbench_fgsm.report.figures.notebook import show_in_notebook
        from robustbench_fgsm.report.loaded_run import as_loaded_run

        return show_in_notebook(draw_run(as_loaded_run(self), kind, targeted, epsilon))

    def report(self, output: Path | str) -> Path:
        """Write the HTML page of `rfgsm report` into one file, and return its path; raise ResourceError if that fails."""
        from robustbench_fgsm import write_report

        return write_report(self, output)
