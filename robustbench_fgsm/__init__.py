"""Measure how easily FGSM fools a classifier, class by class, and whether an FGSM implementation is right.

`__init__.pyi` declares the public names. They load on first use: importing this package loads neither torch nor ART.
"""

import lazy_loader

_load_public_name, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_names, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("robustbench-fgsm")
    return _load_public_name(name)


def __dir__() -> list[str]:
    return __all__
