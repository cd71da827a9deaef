"""Names of plays and skills. A new one is one file: it registers itself, and nothing else needs to know it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Generic[T]):
    """Factories by name.

    Args:
        kind: what is registered, for error messages.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._factories: dict[str, Callable[[], T]] = {}

    def register(self, name: str) -> Callable[[Callable[[], T]], Callable[[], T]]:
        """Return a decorator that registers a class (or function) which takes no arguments.

        Raises:
            ValueError: the name is taken (two files would silently fight for it).
        """

        def add(factory: Callable[[], T]) -> Callable[[], T]:
            if name in self._factories:
                raise ValueError(f"two {self._kind}s are called '{name}'")
            self._factories[name] = factory
            return factory

        return add

    def create(self, name: str) -> T:
        """Return a fresh instance.

        Raises:
            KeyError: no such name; the message lists the known ones.
        """
        if name not in self._factories:
            raise KeyError(f"no {self._kind} '{name}'; there are: {', '.join(self.names())}")
        return self._factories[name]()

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted."""
        return tuple(sorted(self._factories))

    def __contains__(self, name: str) -> bool:
        """True when something is registered under that name."""
        return name in self._factories


def import_all(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, in order of name, so that all of them register."""
    for module in sorted(m.name for m in pkgutil.iter_modules(path)):
        importlib.import_module(f"{package}.{module}")
