"""Either: a name that means one thing on a class, another on what is made from it"""

from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

OfClass = ParamSpec("OfClass")
OfObject = ParamSpec("OfObject")
Made = TypeVar("Made")
Found = TypeVar("Found")


class Either(Generic[OfClass, Made, OfObject, Found]):
    """A class method and a method of one name"""

    def __init__(
        self,
        of_class: Callable[Concatenate[Any, OfClass], Made],
        of_object: Callable[Concatenate[Any, OfObject], Found],
    ) -> None:
        self._of_class, self._of_object = of_class, of_object

    @overload
    def __get__(self, found: None, kind: type, /) -> Callable[OfClass, Made]: ...
    @overload
    def __get__(self, found: object, kind: type, /) -> Callable[OfObject, Found]: ...
    def __get__(self, found: object, kind: type, /) -> Callable[..., Any]:
        """Bound to the class or to the object"""
        method, owner = (self._of_class, kind) if found is None else (self._of_object, found)
        bound: Callable[..., Any] = method.__get__(owner)
        return bound
