"""How many images of a data set are used, and by which rule they are chosen; no torch."""

from __future__ import annotations

from dataclasses import dataclass

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.spec import check_integer

WHOLE_REMEDY = "leave it out for the whole data set"
SAMPLE_RULES = ("auto", "first", "stratified", "random")


@dataclass(frozen=True)
class SampleRequest:
    """How many images are wanted, and by which rule; limit: None for all images.

    text: what settings record under `sample`; None if the rule follows from the data.
    """

    limit: int | None
    rule: str
    text: int | str | None = None

    @classmethod
    def parse(cls, limit: int | None, sample: int | str | None, *, stratified: bool = False) -> SampleRequest:
        """Return the request of `limit`, `sample` and `stratified`, as `load_data` takes them; raise SettingError if they clash."""
        drawn, sample = "stratified" if stratified else "random", "auto" if sample is None else sample
        limit = limit if limit is None else check_integer("limit", limit, WHOLE_REMEDY, least=1)
        if not isinstance(sample, str) or sample.removeprefix("-").isdecimal():
            if limit is not None:
                raise SettingError(f"limit and sample exclude each other, got {limit} and {sample}: leave one out")
            size = check_integer("sample", int(sample) if isinstance(sample, str) else sample, WHOLE_REMEDY, least=1)
            return cls(size, drawn, size)
        if sample not in SAMPLE_RULES:
            raise SettingError(
                f"sample must be one of {', '.join(SAMPLE_RULES)}, got {sample!r}: {did_you_mean(sample, SAMPLE_RULES)}"
            )
        if stratified and sample not in ("auto", "stratified"):
            raise SettingError(f"stratified and sample {sample} exclude each other: leave one out")
        if limit is None and (stratified or sample != "auto"):
            asked = "stratified" if stratified else f"sample {sample}"
            raise SettingError(f"{asked} is about a part of the images, got no limit: pass --limit N")
        return cls(limit, "stratified") if stratified else cls(limit, sample, None if sample == "auto" else sample)
