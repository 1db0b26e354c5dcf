"""Dates as people write them, and the same dates as ISO 8601.

    Monday, May 3rd, 2021   →   2021-05-03

A translation that can be learnt completely.  Reading it takes attention: the year may stand last or
first, and day and month trade places.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np

from .errors import DataError, whole
from .pairs import SPECIAL, Pair, Pairs
from .vocabulary import Vocabulary

FIRST, LAST = date(1950, 1, 1), date(2049, 12, 31)  # a century, so that two digits name a year
# Not from `calendar`: its names follow the computer's language.
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def month(d: date) -> str:
    """The English name of the month."""
    return MONTHS[d.month - 1]


def weekday(d: date) -> str:
    """The English name of the day."""
    return DAYS[d.weekday()]


def ordinal(n: int) -> str:
    """1st, 2nd, 3rd, 4th, …, 11th, …, 21st."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{'th' if n in (11, 12, 13) else ending}"


# Numbers alone are ambiguous unless the sign between them tells: with dots the day stands first, as
# in Europe; with slashes the month, as in America.
FORMATS: tuple[Callable[[date], str], ...] = (
    lambda d: f"{d.day} {month(d)} {d.year}",  # 3 May 2021
    lambda d: f"{month(d)} {d.day}, {d.year}",  # May 3, 2021
    lambda d: f"{weekday(d)}, {month(d)} {ordinal(d.day)}, {d.year}",  # Monday, May 3rd, 2021
    lambda d: f"the {ordinal(d.day)} of {month(d)} {d.year}",  # the 3rd of May 2021
    lambda d: f"{weekday(d)[:3]} {d.day} {month(d)[:3]} {d.year}",  # Mon 3 May 2021
    lambda d: f"{d.day:02}-{month(d)[:3]}-{d.year % 100:02}",  # 03-May-21
    lambda d: f"{month(d)[:3]} {d.day} '{d.year % 100:02}",  # May 3 '21
    lambda d: f"{d.day}.{d.month}.{d.year}",  # 3.5.2021
    lambda d: f"{d.day:02}.{d.month:02}.{d.year % 100:02}",  # 03.05.21
    lambda d: f"{d.month}/{d.day}/{d.year}",  # 5/3/2021
    lambda d: f"{d.year}/{d.month:02}/{d.day:02}",  # 2021/05/03
    lambda d: f"{d.year}{d.month:02}{d.day:02}",  # 20210503
    lambda d: f"{d.year}년 {d.month}월 {d.day}일",  # 2021년 5월 3일
)
CASES: tuple[Callable[[str], str], ...] = (str, str, str.lower, str.upper)  # half as it is


def dates(train: int = 8_000, test: int = 1_000, seed: int = 0) -> Pairs:
    """`train` and `test` pairs drawn by `seed`, every one of another day.

    Raises:
        DataError: numbers that are negative or not whole, or more pairs than the century has days.
    """
    train, test = whole("dates: train", train), whole("dates: test", test)
    rng = np.random.default_rng(whole("dates: seed", seed))
    days = (LAST - FIRST).days + 1
    if train + test > days:
        raise DataError(
            f"dates: expected at most {days:,} pairs in all, one a day; got {train:,} + {test:,}"
        )
    chosen = rng.permutation(days)[: train + test]
    drawn = [written(FIRST + timedelta(days=int(day)), rng) for day in chosen]
    words = " ".join(("0123456789-./',", *MONTHS, *DAYS, "the of", "st nd rd th", "년월일"))
    symbols = sorted(set(words.lower() + words.upper()))
    return Pairs("dates", drawn[:train], drawn[train:], Vocabulary([*SPECIAL, *symbols]))


def written(day: date, rng: np.random.Generator) -> Pair:
    """`day` in a random format."""
    case, form = CASES[rng.integers(len(CASES))], FORMATS[rng.integers(len(FORMATS))]
    return Pair(case(form(day)), day.isoformat())


def year_in(pair: Pair) -> range:
    """Where the year stands in a date as written: four characters, or the last two."""
    at = pair.source.find(pair.target[:4])
    last = len(pair.source)
    return range(at, at + 4) if at >= 0 else range(last - 2, last)
