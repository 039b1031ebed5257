"""Look at the pickle inside a file of weights before torch reads it, so that reading takes bounded time and memory.

torch's own safe reader (weights_only) runs no code, but a pickle of a few hundred bytes can still hold a tuple in a
tuple a million deep (hashing it ends the process), tuples that double sixty times (hashing them never ends), or
ask for a bytearray of a terabyte. Here the pickle's operations are followed without making any of its objects.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable
from typing import IO, Any

from reidlab.errors import UserError

__all__ = ["REMEDY", "check_pickle"]

MAX_OPERATIONS = 2_000_000  # about 30,000 tensors
MAX_DEPTH = 100
MAX_VALUES = 4_000_000  # of one object, its parts counted as often as they are reached
MAX_WORK = 64_000_000  # values looked at for all keys and arguments together
REMEDY = "Save `model.state_dict()` alone, by torch.save or safetensors."

_VALUES = {"BININT", "BININT1", "BININT2", "BINUNICODE", "SHORT_BINSTRING", "LONG1", "NEWTRUE", "NEWFALSE", "NONE"}
_VALUES |= {"BINFLOAT"}
_EMPTY = {"EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS, _PUTS = {"BINGET", "LONG_BINGET"}, {"BINPUT", "LONG_BINPUT"}
_REBUILD = "torch._utils._rebuild_"
# what makes memory without content: torch.save writes none of it, but torch's reader would do it
_MEMORY = re.compile(r"torch\.(\w+\.)*\w*(Tensor|Storage)$")
_NUMPY_KIND = re.compile(r"[<>|=]?[fiub][1248]$")


class _Value:
    """An object that the pickle would make: the parts that it holds; of plain ones the value, of globals the name."""

    __slots__ = ("hashed", "name", "parts", "plain", "size")

    def __init__(self, plain: Any = None, parts: Iterable[_Value] = (), name: str = "", hashed: bool = False) -> None:
        self.plain, self.parts, self.name, self.size = plain, list(parts), name, 0
        self.hashed = hashed  # its parts are hashed, or handed to a function


class _Storage(int):
    """How many numbers a storage claims."""


class _Damaged(Exception):
    """The pickle breaks off or takes what is not there."""


def check_pickle(file: IO[bytes], what: str, file_bytes: int) -> tuple[set[str], set[str]]:
    """Refuse a pickle that torch's safe reader could not read in bounded time and memory.

    Args:
        file: at the beginning of the pickle; left behind its end.
        what: names the file in messages.
        file_bytes: size of the whole file, which no tensor in it can exceed.

    Returns:
        The names of the storages that its tensors are in, and all other texts.

    Raises:
        UserError: the pickle breaks off, is no pickle of tensors, or is nested, repeated or sized beyond reason.
    """
    reader = _Reader(what, file_bytes)
    try:
        reader.follow(file)
    except UserError:
        raise
    except (_Damaged, IndexError, KeyError, EOFError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error) if isinstance(error, _Damaged) else "its pickle breaks off or is damaged"
        raise UserError(
            f"{what} is not readable as plain tensors ({reason}). Is it a file of weights, and whole? Download or "
            "save it again."
        ) from error
    _measure(reader.made, what)
    return reader.storages, reader.texts


class _Reader:
    """Follow the operations; `made` are all objects with parts that the pickle would make."""

    def __init__(self, what: str, file_bytes: int) -> None:
        self.what, self.file_bytes = what, file_bytes
        self.stack: list[_Value] = []
        self.marks: list[list[_Value]] = []
        self.memo: dict[int, _Value] = {}
        self.made: list[_Value] = []
        self.storages: set[str] = set()
        self.texts: set[str] = set()

    def follow(self, file: IO[bytes]) -> None:
        for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if count >= MAX_OPERATIONS:
                raise UserError(
                    f"{self.what} has more than {MAX_OPERATIONS:,} pickled values beside the numbers of its tensors. "
                    f"{REMEDY}"
                )
            if operation.name == "STOP":
                return
            if operation.name != "PROTO":
                self._step(operation.name, argument)
        raise _Damaged("its pickle breaks off")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            if isinstance(argument, str):
                self.texts.add(argument)
            stack.append(_Value(argument))
        elif name == "GLOBAL":
            stack.append(_Value(name=argument.replace(" ", ".", 1)))
        elif name in _EMPTY:
            self._add()
        elif name == "MARK":
            self.marks.append(stack)
            self.stack = []
        elif name == "TUPLE":
            self._add(self._since_mark())
        elif name in _TUPLES:
            parts = [stack.pop() for _ in range(_TUPLES[name])]
            self._add(reversed(parts))
        elif name in ("APPENDS", "SETITEMS"):
            self._put(self._since_mark(), keys=name == "SETITEMS")
        elif name in ("APPEND", "BUILD"):
            self._put([stack.pop()])
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            self._put([key, value], keys=True)
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            self._check_call(function.name, arguments.parts)
            self._add([arguments], hashed=True)
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name in _GETS:
            stack.append(self.memo[argument])
        elif name in _PUTS:
            self.memo[argument] = stack[-1]
        else:
            raise UserError(
                f"{self.what} is not readable as plain tensors (it is pickled in a way, {name}, that torch's safe "
                f"reader does not know). {REMEDY}"
            )

    def _add(self, parts: Iterable[_Value] = (), hashed: bool = False) -> None:
        self.stack.append(_Value(parts=parts, hashed=hashed))
        self.made.append(self.stack[-1])

    def _since_mark(self) -> list[_Value]:
        parts, self.stack = self.stack, self.marks.pop()
        return parts

    def _put(self, parts: list[_Value], *, keys: bool = False) -> None:
        self.stack[-1].parts += parts
        if keys:
            self.made.append(_Value(parts=parts[::2], hashed=True))

    def _check_call(self, function: str, arguments: list[_Value]) -> None:
        """Refuse calls that torch's reader allows, and that make memory without content or never end."""
        if function == "torch._tensor._rebuild_from_type_v2" and len(arguments) > 2:  # calls its first with its third
            if not arguments[0].name.startswith(_REBUILD):
                raise _Damaged(f"it calls {arguments[0].name[:80] or 'a value'}")
            self._check_call(arguments[0].name, arguments[2].parts)
            return
        first = arguments[0].plain if arguments else None
        encoding = arguments[1].plain if len(arguments) > 1 else "latin1"
        bad_arguments = {
            "": True,
            "builtins.bytearray": isinstance(first, int),
            "__builtin__.bytearray": isinstance(first, int),
            "_codecs.encode": encoding != "latin1",
            "numpy.dtype": not (isinstance(first, str) and _NUMPY_KIND.match(first)),
        }
        if bad_arguments.get(function) or _MEMORY.match(function):
            raise _Damaged(f"it calls {function[:80] or 'a value'}({'' if first is None else repr(first)[:40]})")
        if function.startswith(_REBUILD + "tensor") and len(arguments) > 3:
            self._check_tensor(*arguments[:4])

    def _check_tensor(self, storage: _Value, offset: _Value, size: _Value, stride: _Value) -> None:
        """Refuse a tensor that reaches beyond its storage."""
        sides, steps = ([part.plain for part in value.parts] for value in (size, stride))
        numbers = [offset.plain, *sides, *steps]
        if not all(isinstance(number, int) for number in numbers) or not isinstance(storage.plain, _Storage):
            raise _Damaged("the size of a tensor is not a list of numbers")
        reach = offset.plain + sum((side - 1) * step for side, step in zip(sides, steps)) + 1
        if 0 not in sides and (reach > storage.plain or min(numbers) < 0):
            self._refuse_claim(reach, f"its storage {storage.plain:,}")

    def _storage(self, place: _Value) -> _Value:
        """Return a storage; refuse one with more numbers than the file has bytes."""
        parts = [part.plain for part in place.parts]
        claimed = max((part for part in parts if isinstance(part, int)), default=0)
        if claimed > self.file_bytes:
            self._refuse_claim(claimed, f"the whole file {self.file_bytes:,} bytes")
        self.storages.add(str(parts[2]) if len(parts) > 2 else "")
        return _Value(_Storage(claimed))

    def _refuse_claim(self, claimed: int, against: str) -> None:
        before = [*(value for outer in self.marks for value in outer), *self.stack]
        name = next((value.plain for value in reversed(before) if isinstance(value.plain, str)), "?")
        raise UserError(
            f"{self.what}: tensor {name[:200]!r} claims {claimed:,} numbers, and {against}. The file is damaged or "
            "cut; download or save it again."
        )


def _measure(made: list[_Value], what: str) -> None:
    """Refuse objects that hold themselves, are nested too deep, or have too many parts, repeated ones counted again."""
    depth: dict[int, int] = {}  # -1: entered, not left
    work = 0
    for root in made:
        waiting = [(root, False)]
        while waiting:
            value, left = waiting.pop()
            if left:
                value.size = 1 + sum(part.size or 1 for part in value.parts)
                depth[id(value)] = 1 + max((depth.get(id(part), 0) for part in value.parts), default=0)
                if value.size > MAX_VALUES or depth[id(value)] > MAX_DEPTH:
                    how = "repeats values" if value.size > MAX_VALUES else "nests values"
                    raise UserError(f"{what} {how} beyond any sensible limit. {REMEDY}")
            elif depth.get(id(value)) == -1:
                raise UserError(f"{what} contains an object that refers to itself. {REMEDY}")
            elif value.parts and id(value) not in depth:
                depth[id(value)] = -1
                waiting += [(value, True), *((part, False) for part in value.parts)]
        work += root.size if root.hashed else 0
    if work > MAX_WORK:
        raise UserError(f"{what} has keys of too many parts. {REMEDY}")
