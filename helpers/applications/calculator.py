"""A calculator for programs that a model wrote: whole numbers, + - * / and brackets, read as a syntax tree; nothing is
ever executed.
"""

from __future__ import annotations

import ast
import operator
import warnings
from fractions import Fraction

OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
SYMBOLS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.FloorDiv: "//", ast.Mod: "%"}
LONGEST, LARGEST = 100, 10**12  # characters of a program; magnitude of a number, on the way as well


class CalculatorError(ValueError):
    """A program that the calculator does not run; the message says which part, and what it does run."""


def calculate(program: str) -> Fraction:
    """The exact value of an arithmetic expression; whole numbers print as such: str(calculate("3 * 7 + 5")) is "26".

    Raises:
        CalculatorError: too long, no expression, anything but whole numbers, + - * / and brackets, a division by zero,
            a number above `LARGEST`.
    Source: the manner of `ast.literal_eval`: the tree is walked, so that names, calls, attributes and powers are never
        evaluated.
    """
    if not isinstance(program, str) or not 0 < len(program) <= LONGEST:
        raise CalculatorError(f"{str(program)[:LONGEST]!r} is no program of 1 to {LONGEST} characters")
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd syntax, such as 3 (4); it is refused below
            tree = ast.parse(program.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise CalculatorError(f"{program!r} is no arithmetic; write numbers with + - * / and brackets") from None
    return _value(tree.body)


def _value(node):
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return _bounded(Fraction(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATIONS:
            first, second = _value(left), _value(right)
            if isinstance(op, ast.Div) and second == 0:
                raise CalculatorError("a division by zero has no value")
            return _bounded(OPERATIONS[type(op)](first, second))
        case ast.BinOp(op=op):
            raise CalculatorError(
                f"the operation {SYMBOLS.get(type(op), type(op).__name__)} is not allowed; + - * / are"
            )
    raise CalculatorError(f"{ast.unparse(node)[:40]!r} is not allowed; whole numbers, + - * / and brackets are")


def _bounded(number):
    if max(abs(number), number.denominator) > LARGEST:
        raise CalculatorError(f"a number above {LARGEST:.0e} came up; nothing in a shop costs that much")
    return number
