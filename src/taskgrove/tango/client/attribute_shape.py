"""The type of an attribute: which values it takes and which conditions it can meet; pure.

Types are known by their TANGO names (``DevDouble``), so this module needs no TANGO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.errors import did_you_mean
from taskgrove.tango.client.argin import CheckedArgin, given, scalar_problem

Form: TypeAlias = Literal["SCALAR", "SPECTRUM", "IMAGE"]

#: The states of TANGO, in the order of their numbers.
STATES: Final = (
    "ON", "OFF", "CLOSE", "OPEN", "INSERT", "EXTRACT", "MOVING", "STANDBY", "FAULT", "INIT",
    "RUNNING", "ALARM", "DISABLE", "UNKNOWN",
)  # fmt: skip
_WORDS: Final[dict[Form, str]] = {
    "SCALAR": "",
    "SPECTRUM": "a list of ",
    "IMAGE": "a list of lists of ",
}
#: Types whose values are no numbers.
_NO_NUMBERS: Final = frozenset({"DevString", "DevBoolean", "DevState", "DevEnum", "DevEncoded"})


class NamedNumber(int):
    """A member of an enumeration: a number that has a name."""

    name: str

    def __new__(cls, number: int, name: str) -> NamedNumber:
        """Make one."""
        self = super().__new__(cls, number)
        self.name = name
        return self

    def __str__(self) -> str:
        return self.name


class AttributeShape(NamedTuple):
    """The description of an attribute by its device.

    Attributes:
        name: The name, as the device spells it.
        type_name: The TANGO name of its type, or of that of its elements.
        form: Whether it is one value, a list, or a list of lists.
        max_x: The most elements of a list, or of each inner list.
        max_y: The most inner lists.
        labels: The names of the members of an enumeration, in the order of their numbers.
        is_readable: Whether it can be read.
        is_writable: Whether it can be written.
    """

    name: str
    type_name: str
    form: Form = "SCALAR"
    max_x: int = 1
    max_y: int = 0
    labels: tuple[str, ...] = ()
    is_readable: bool = True
    is_writable: bool = True

    @property
    def words(self) -> str:
        """The type, for a message: ``DevDouble, a list of at most 4``."""
        if self.form == "SCALAR":
            return self.type_name
        if self.form == "SPECTRUM":
            return f"{self.type_name}, a list of at most {self.max_x}"
        return f"{self.type_name}, at most {self.max_y} lists of at most {self.max_x}"

    @property
    def members(self) -> tuple[str, ...]:
        """The names of its members, where it has some."""
        return STATES if self.type_name == "DevState" else self.labels

    def checked(self, value: Any) -> CheckedArgin:
        """Fit a value to the attribute before it is written.

        Args:
            value: The value, as plain data.
        """
        if self.type_name == "DevEncoded":
            return CheckedArgin(problem="is DevEncoded, which a map cannot give")
        found: list[str] = []
        result = self._fitted(value, self.form, found)
        if found:
            return CheckedArgin(problem=found[0])
        return CheckedArgin(result)

    def _fitted(self, value: Any, form: Form, problems: list[str], place: str = "") -> Any:
        """Return a value as it is sent; the first of ``problems`` says why it cannot be."""
        if form == "SCALAR":
            result, problem = self._element(value)
            if problem and place:
                problems.append(f"is {self.words}, and its item {place} {problem}")
            elif problem:
                told = problem.removeprefix("takes ")
                problems.append(f"is {self.words}, and {told}" if told == problem else f"is {told}")
            return result
        if not isinstance(value, (list, tuple)):
            where = f"its item {place} is " if place else ""
            said = f"is {self.words}, and {where or 'was given '}{given(value)}"
            problems.append(said)
            return None
        most = self.max_y if form == "IMAGE" else self.max_x
        if len(value) > most:
            where = f" in its item {place}" if place else ""
            problems.append(f"is {self.words}, and was given {len(value)}{where}")
        inner: Form = "SPECTRUM" if form == "IMAGE" else "SCALAR"
        result = [
            self._fitted(item, inner, problems, f"{place}[{index}]")
            for index, item in enumerate(value)
            if not problems
        ]
        if form == "IMAGE" and not problems and len({len(row) for row in result}) > 1:
            problems.append(f"is {self.words}, and its lists are not of one length")
        return result

    def _element(self, value: Any) -> tuple[Any, str | None]:
        """Return one element as it is sent, and why it cannot be."""
        members = self.members
        if members and isinstance(value, str):
            number = _number_of(value, members)
            return number, None if number is not None else _no_member(value, members)
        if members and isinstance(value, int) and not isinstance(value, bool):
            known = 0 <= value < len(members)
            return value, None if known else f"{value} is none of 0 to {len(members) - 1}"
        if members:
            return None, f"{given(value)} is none of {_listed(members)}"
        return value, scalar_problem(self.type_name, value)

    def problem_of(self, condition: AttributeCondition) -> str | None:
        """Return why the attribute can never meet a condition; None where it can.

        Args:
            condition: The condition.
        """
        if not self.is_readable:
            return "cannot be read"
        if (condition.min, condition.max) != (None, None) and self.type_name in _NO_NUMBERS:
            return f"is {self.words}, and 'min' and 'max' are for numbers"
        if condition.within and self.type_name in _NO_NUMBERS:
            return f"is {self.words}, and 'within' is for numbers"
        for value in _values_of(condition):
            problem = self.checked(value).problem
            if problem is not None:
                return problem
        return None

    def value_of(self, raw: Any) -> Any:
        """Return a value that was read, as conditions compare it; None where there is none.

        Args:
            raw: The value, as PyTango gives it.
        """
        if hasattr(raw, "tolist"):
            raw = raw.tolist()
        if isinstance(raw, (list, tuple)) and self.type_name != "DevEncoded":
            return [self.value_of(item) for item in raw]
        members = self.members
        if members and raw is not None:
            number = int(raw)
            known = 0 <= number < len(members)
            return NamedNumber(number, members[number]) if known else number
        return raw


def plain_value(value: Any) -> Any:
    """Return a value as plain data for a record: members of enumerations by name.

    Args:
        value: The value, as :meth:`AttributeShape.value_of` returns it.
    """
    if isinstance(value, NamedNumber):
        return value.name
    if isinstance(value, (list, tuple)):
        return [plain_value(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _values_of(condition: AttributeCondition) -> Iterator[Any]:
    if condition.value is not None:
        yield condition.value
    yield from condition.any_of
    yield from condition.none_of
    yield from condition.fail_on


def _number_of(name: str, members: Sequence[str]) -> int | None:
    wanted = _folded(name)
    return next((n for n, item in enumerate(members) if _folded(item) == wanted), None)


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")


def _no_member(value: str, members: Sequence[str]) -> str:
    hint = did_you_mean(value.upper(), members) or did_you_mean(value, members)
    return f"{value!r:.80} is none of {_listed(members)}" + (f"; {hint}" if hint else "")


def _listed(members: Iterable[str]) -> str:
    return ", ".join(members)
