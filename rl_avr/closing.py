"""Things that are closed: each is a context whose end closes it."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """Makes a class with `close` a context: `with X() as x` closes x, after an error too."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of what is held."""

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Closes; an error goes on."""
        self.close()
