"""What the pickle in a file of PyTorch's says of tensors. Nothing in it is run.

A pickle is a program for a small machine with a stack. Python's own `pickle` imports and calls whatever it names; here
its instructions are read as data (`pickletools`), and those by which tensors are described are followed. No instruction
imports, calls or sets anything, so that no file can: that is why this is no `Unpickler` with some names allowed.
"""

import pickletools
from typing import Any, NamedTuple

from albert.system.json_text import short_repr, short_text

_MAX_AXES = 8
_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
}
_DICT = "collections OrderedDict"
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"


class ForeignPickle(ValueError):
    """A pickle of something else than tensors by name, such as a whole model: copying the file again does not help."""


class PickledStorage(NamedTuple):
    """Numbers in a row: the name of their file, NumPy's name of the type, or PyTorch's for others, and how many."""

    key: str
    dtype: str
    length: int


class PickledTensor(NamedTuple):
    """A tensor: its storage, where in it the tensor begins, its axes, and how far apart their elements are."""

    storage: PickledStorage
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Global(NamedTuple):
    """What a pickle would import."""

    name: str


def pickled_tensors(data: bytes) -> dict[str, PickledTensor]:
    """The tensors that a pickle describes, by their names.

    Raises ValueError for a pickle that is damaged, ForeignPickle for one that does anything else than to describe
    tensors.
    """
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "STOP":
            break
        try:
            machine.do(opcode.name, argument)
        except (IndexError, KeyError, TypeError):
            raise ValueError(f"its pickle is damaged ({opcode.name})") from None
    found = machine.stack[-1] if machine.stack else None
    if not isinstance(found, dict) or not all(isinstance(value, PickledTensor) for value in found.values()):
        raise ForeignPickle("it holds something else than the tensors of a model")
    return found


class _Machine:
    """Values are texts, numbers, None, tuples, dictionaries whose keys are texts, and the three kinds above."""

    def __init__(self):
        self.stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        """Follows one instruction. Raises ValueError for those that do not describe tensors."""
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(self.stack))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.stack[-1]
            case "SETITEM" | "SETITEMS":
                self._set_items(self._pop(2) if name == "SETITEM" else self._pop_to_mark())
            case "BUILD":  # attributes of a dictionary, such as the versions of a model's parts
                self._pop(1)
                if not isinstance(self.stack[-1], dict):
                    raise _is_no_description(name)
            case _:
                self.stack.append(self._value(name, argument))

    def _value(self, name: str, argument: Any) -> Any:
        match name:
            case "EMPTY_DICT":
                return {}
            case "EMPTY_TUPLE":
                return ()
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                return {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name]
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE" | "SHORT_BINUNICODE":
                return argument
            case "GLOBAL":
                return _Global(argument)
            case "STACK_GLOBAL":
                module, attribute = self._pop(2)
                return _Global(f"{_text(module)} {_text(attribute)}")
            case "BINGET" | "LONG_BINGET":
                return self._memo[argument]
            case "TUPLE":
                return tuple(self._pop_to_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                return tuple(self._pop(int(name[-1])))
            case "BINPERSID":
                return _storage(*self._pop(1)[0])
            case "REDUCE":
                return _made(*self._pop(2))
        raise _is_no_description(name)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise _is_no_description("SETITEMS")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if _text(key) in target:
                raise ValueError(f"{short_repr(key)} is in it twice")
            target[key] = value

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) - (self._marks[-1] if self._marks else 0) < count:
            raise IndexError
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def _pop_to_mark(self) -> list[Any]:
        mark = self._marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values


def _made(function: _Global, arguments: tuple[Any, ...]) -> Any:
    """What a call would give, of those calls that describe tensors."""
    name = function.name if isinstance(function, _Global) else "?"
    if name == _DICT and arguments == ():
        return {}
    if name == _PARAMETER and isinstance(arguments[0], PickledTensor):
        return arguments[0]
    if name != _TENSOR:
        called = short_text(name)
        raise ForeignPickle(f"its pickle would call {called}, which describes no tensor: it is not run")
    storage, first, shape, strides, *_ = arguments
    if not isinstance(storage, PickledStorage) or not _are_sizes((first,)) or not _are_sizes(shape):
        raise ValueError("its pickle describes a tensor without a storage or a shape")
    if not _are_sizes(strides) or len(strides) != len(shape):
        raise ValueError("its pickle describes a tensor whose strides are not those of its shape")
    return PickledTensor(storage, first, shape, strides)


def _storage(kind: str, type_of: _Global, key: str, device: str, count: int) -> PickledStorage:
    if kind != "storage" or not isinstance(type_of, _Global) or not _are_sizes((count,)):
        raise ValueError("its pickle names something else than numbers in the archive")
    name = type_of.name.removeprefix("torch ")
    return PickledStorage(_text(key), _TYPES.get(name, name), count)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _are_sizes(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) <= _MAX_AXES
        and all(type(number) is int and 0 <= number < 1 << 63 for number in value)
    )


def _is_no_description(name: str) -> ForeignPickle:
    return ForeignPickle(f"its pickle does more than to describe tensors ({name}): it is not run")
