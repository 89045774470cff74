"""Progress of an attack over a data set, reported to the caller's functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustbench_fgsm.engine.distributed import World

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""

FooledProgress = Callable[[int, int], None]
"""Called with the images fooled and the images attacked, before the call with the images done."""

CheckProgress = Callable[[str, int, int], None]
"""Called with the next attack of a check, the images that are done with all its attacks, and the images in all."""


@dataclass
class ProgressReporter:
    """Reporter of progress.

    total: images in all. The images done are those of all processes, the images fooled those of this process.
    """

    total: int
    world: World
    progress: Progress | None = None
    fooled_progress: FooledProgress | None = None
    done: int = 0

    def __call__(self, count: int, fooled: tuple[int, int] | None = None) -> None:
        """Report that `count` more images are done; fooled: images fooled and images attacked so far."""
        self.done += count
        done = self.world.add_done_images(count, self.done)
        if self.fooled_progress is not None and fooled is not None:
            self.fooled_progress(*fooled)
        if self.progress is not None:
            self.progress(done, self.total)
