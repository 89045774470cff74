"""How far a measurement has come, for whoever asked to be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.outcomes import Counter

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""

Watch = Callable[[int, int], None]
"""Called with images fooled and images that could have been, before the last progress."""

Checking = Callable[[str, int, int], None]
"""Called with the attack that a check comes to, images that are through with all of its attacks, and images in all."""


@dataclass
class Saying:
    """Whom to tell; total: images in all. Images of all processes are told, but counts only of this one."""

    total: int
    world: World
    progress: Progress | None = None
    watch: Watch | None = None
    done: int = 0

    def __call__(self, images: int, counter: Counter) -> None:
        """So many more images are done."""
        self.done += images
        done = self.world.add_done(images, self.done)
        if self.watch is not None:
            self.watch(*counter.fooled_so_far())
        if self.progress is not None:
            self.progress(done, self.total)
