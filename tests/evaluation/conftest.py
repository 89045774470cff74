"""Documents of evaluations on small networks, shared with the tests of reports."""

from __future__ import annotations

from tests.report.conftest import measured as measured
