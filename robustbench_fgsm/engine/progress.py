"""How far a measurement has come, for whoever asked to be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.outcomes import OutcomeCounter

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""

FooledProgress = Callable[[int, int], None]
"""Called with images fooled and images that could have been, before the last progress."""

CheckProgress = Callable[[str, int, int], None]
"""Called with the attack that a check comes to, images that are through with all of its attacks, and images in all."""


@dataclass
class ProgressReporter:
    """Whom to tell; total: images in all. Images of all processes are told, but counts only of this one."""

    total: int
    world: World
    progress: Progress | None = None
    fooled_progress: FooledProgress | None = None
    done: int = 0

    def __call__(self, count: int, counter: OutcomeCounter) -> None:
        """So many more images are done."""
        self.done += count
        done = self.world.add_done_images(count, self.done)
        if self.fooled_progress is not None:
            self.fooled_progress(*counter.fooled_so_far())
        if self.progress is not None:
            self.progress(done, self.total)
