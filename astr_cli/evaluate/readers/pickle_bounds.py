"""Checks a pickle before it is loaded, because eleven bytes can demand gigabytes or endless time."""

import io
import pickletools

PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
GETS = ("GET", "BINGET", "LONG_BINGET")
TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
UNUSED = ("DUP", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER")  # in numpy's pickles


def bound(size: int) -> int:
    """The greatest number of parts that a pickle of `size` bytes may have; a sound one has less than one per byte."""
    return 10 * size + 1000


def require_bounded(data: bytes) -> None:
    """Raises ValueError: truncated data, a length or position beyond the data, or nested tuples that expand endlessly.

    A hash of such a tuple visits all parts, so they are counted here, on a stack as the pickle fills it. Lists have no
    hash: who unfolds them counts himself.
    """
    stack: list[int] = []  # the number of parts of each value
    marks: list[int] = []
    memo: dict[int, int] = {}
    for code, argument, _ in pickletools.genops(io.BytesIO(data)):
        if code.name in UNUSED:
            raise ValueError(f"it uses {code.name}, which no list of photos needs")
        if code.name == "MARK":
            marks.append(len(stack))
        elif code.name in PUTS or code.name == "MEMOIZE":
            place = len(memo) if code.name == "MEMOIZE" else int(str(argument))
            if place > len(data):
                raise ValueError("it refers to a position beyond its end")
            memo[place] = stack[-1]
        elif code.name in GETS:
            stack.append(memo[int(str(argument))])
        else:
            parts = 1 + sum(_pop(code, stack, marks))
            if code.name in TUPLES and parts > bound(len(data)):
                raise ValueError("it repeats its parts too often")
            stack.extend([parts if code.name in TUPLES else 1] * len(code.stack_after))


def _pop(code: pickletools.OpcodeInfo, stack: list[int], marks: list[int]) -> list[int]:
    """Takes the operands of an opcode from the stack."""
    before = code.stack_before
    if pickletools.markobject in before:
        start = marks.pop() - before.index(pickletools.markobject)
    else:
        start = len(stack) - len(before)
    if start < 0:
        raise ValueError("it takes values from an empty stack")
    taken = stack[start:]
    del stack[start:]
    return taken
