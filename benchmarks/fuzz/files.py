"""safetensors files, right and wrong: a right one is described, and the description spoiled.

A description keeps what JSON and the format leave open: members in order, so that names may come
twice; values as the text that stands there, so that 1.0 is not 1; places that need not fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from random import Random

from tinygrad_attn.files.header import METADATA, SIZES

NAMES = (
    "wte.weight", "a", "b", "", "../../etc/passwd", "/dev/null", "ж", "😀", "a\0b", '"', "\\",
    "optimizer:0", "state:a", "$array", "__proto__", "__metadata", " ", "a" * 300,
)  # fmt: skip
NUMBERS = (
    "-1", "-0", "0", "1", "2", "3", "7", "00", "01", "1.0", "1e0", "1E2", "0.5", "NaN", "Infinity",
    "-Infinity", "null", "true", '"1"', "[]", "{}", "[1]", "255", str(1 << 31), str(1 << 32),
    str(1 << 53), str((1 << 63) - 1), str(1 << 63), str((1 << 64) - 1), str(1 << 64), "9" * 400,
)  # fmt: skip
TEXTS = (
    '""', '"x"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\x"', '"\n"', "null", "1", "[]",
    "{}", '{"a": "b"}', "NaN", "'x'", '"' + "x" * 500 + '"', "[" * 50 + "]" * 50, '"é"',
)  # fmt: skip
SIGNS = (
    b"PK\x03\x04", b"\x1f\x8b", b"\x80\x04\x95", b"\x93NUMPY", b"\x89HDF\r\n", b"GGUF",
    b"\xef\xbb\xbf", b"{}", b"\0", b"\n",
)  # fmt: skip
BLANKS = ("", " ", "  ", "\n", "\t", "\r\n", "\0", "\v", "\u00a0")
FIELDS = ("dtype", "shape", "data_offsets")


@dataclass
class Described:
    """An array: its name, and its fields as they stand in the header."""

    name: str
    fields: list[tuple[str, str]]

    def put(self, key: str, text: str) -> None:
        """Let another text stand where the field's value does."""
        self.fields = [(k, text if k == key else v) for k, v in self.fields]


@dataclass
class Description:
    """A file, before it is one."""

    arrays: list[Described]
    data: bytes
    metadata: list[tuple[str, str]] = field(default_factory=list)
    blank: str = ""
    after: str = ""

    def header(self, random: Random) -> str:
        """The JSON text, its members in any order."""
        blank = self.blank
        members = [
            f"{json.dumps(a.name, ensure_ascii=random.random() < 0.5)}:{blank}{a_text(a, blank)}"
            for a in self.arrays
        ]
        if self.metadata:
            inner = ",".join(f"{json.dumps(key)}:{blank}{text}" for key, text in self.metadata)
            members.insert(random.randint(0, len(members)), f'"{METADATA}":{{{inner}}}')
        return "{" + f"{blank},{blank}".join(members) + blank + "}" + self.after


def a_text(array: Described, blank: str) -> str:
    """An array's description as JSON."""
    return "{" + ",".join(f'"{key}":{blank}{text}' for key, text in array.fields) + "}"


def right(random: Random) -> Description:
    """A description of a file in which nothing is wrong."""
    arrays, data = [], b""
    names = random.sample(NAMES, random.randint(0, 4))
    for name in names:
        dtype = random.choice(list(SIZES))
        shape = [random.choice((0, 1, 2, 3, 5)) for _ in range(random.randint(0, 3))]
        size = SIZES[dtype] * prod(shape)
        values = [f'"{dtype}"', str(shape), str([len(data), len(data) + size])]
        fields = list(zip(FIELDS, values, strict=True))
        random.shuffle(fields)
        arrays.append(Described(name, fields))
        data += bytes(size) if dtype == "BOOL" else random.randbytes(size)
    random.shuffle(arrays)
    found = Description(
        arrays, data, blank=random.choice(("", " ")), after=random.choice(("", " "))
    )
    if random.random() < 0.5:
        found.metadata = [(key, json.dumps(key * 2)) for key in random.sample(NAMES, 2)]
    return found


# ── a description, spoiled ───────────────────────────────────────────────────────────────────────
def spoil_field(d: Description, random: Random) -> None:
    """Other numbers, or none, as shape or places."""
    if d.arrays:
        key = random.choice(("shape", "data_offsets"))
        numbers = random.choices(NUMBERS, k=random.choice((0, 1, 2, 2, 3, 70)))
        text = f"[{','.join(numbers)}]" if random.random() < 0.8 else random.choice(NUMBERS)
        random.choice(d.arrays).put(key, text)


def spoil_number(d: Description, random: Random) -> None:
    """One number of a shape or of places is another."""
    if d.arrays:
        array, key = random.choice(d.arrays), random.choice(("shape", "data_offsets"))
        numbers = dict(array.fields).get(key, "[0]").strip("[]").split(",")
        numbers[random.randrange(len(numbers))] = random.choice(NUMBERS)
        array.put(key, f"[{','.join(numbers)}]")


def spoil_dtype(d: Description, random: Random) -> None:
    """Another dtype, or no dtype."""
    if d.arrays:
        text = random.choice([f'"{name}"' for name in SIZES] + ['"F31"', '"f32"', '"O"', *TEXTS])
        random.choice(d.arrays).put("dtype", text)


def spoil_fields(d: Description, random: Random) -> None:
    """A field that is missing, or too many, or there twice."""
    if d.arrays:
        fields = random.choice(d.arrays).fields
        if fields and random.random() < 0.4:
            fields.pop(random.randrange(len(fields)))
        else:
            key = random.choice((*FIELDS, "x", "Dtype", ""))
            fields.insert(random.randint(0, len(fields)), (key, random.choice((*NUMBERS, *TEXTS))))


def spoil_place(d: Description, random: Random) -> None:
    """An array on the bytes of another, or moved by a little."""
    if d.arrays:
        one, other = random.choice(d.arrays), random.choice(d.arrays)
        found = dict(other.fields).get("data_offsets", "[0,0]")
        try:
            start, stop = json.loads(found)
            by = random.choice((0, 0, 1, -1, 8, 1 << 62))
            one.put("data_offsets", str([start + by, stop + by]))
        except (ValueError, TypeError):
            one.put("data_offsets", found)


def spoil_name(d: Description, random: Random) -> None:
    """A name that is there twice, or the metadata's."""
    if d.arrays:
        names = [a.name for a in d.arrays]
        random.choice(d.arrays).name = random.choice([*names, METADATA, "\ud800"])


def spoil_metadata(d: Description, random: Random) -> None:
    """Texts that are none, or keys that come twice."""
    key = random.choice(("a", "a", "", "tinygrad_attn"))
    d.metadata.append((key, random.choice(TEXTS)))


def spoil_data(d: Description, random: Random) -> None:
    """Bytes missing, or too many."""
    cut = random.randint(0, len(d.data))
    d.data = random.choice((d.data[:cut], d.data + random.randbytes(cut + 1)))


def spoil_blank(d: Description, random: Random) -> None:
    """Other blanks, or what is none."""
    d.blank, d.after = random.choice(BLANKS), random.choice((*BLANKS, "{}", "x", " " * 99))


# ── a file, spoiled ──────────────────────────────────────────────────────────────────────────────
def flipped(content: bytes, random: Random) -> bytes:
    """One bit is another."""
    whole = bytearray(content)
    whole[random.randrange(len(whole))] ^= 1 << random.randrange(8)
    return bytes(whole)


def cut(content: bytes, random: Random) -> bytes:
    """A part of the end is missing."""
    return content[: random.randrange(len(content))]


def copied(content: bytes, random: Random) -> bytes:
    """A part is there twice, or missing."""
    a, b = sorted(random.randint(0, len(content)) for _ in range(2))
    return content[:b] + content[random.choice((a, b)) :]


def misread(content: bytes, random: Random) -> bytes:
    """The header's length is another."""
    n = int.from_bytes(content[:8], "little")
    n = random.choice((0, 1, n - 1, n + 1, n * 2, len(content), 1 << 31, 1 << 63, (1 << 64) - 8))
    return (n % (1 << 64)).to_bytes(8, "little") + content[8:]


def prefixed(content: bytes, random: Random) -> bytes:
    """Something stands before it, as in another format."""
    sign = random.choice(SIGNS)
    return sign + content[random.choice((0, len(sign))) :]


def lengthened(content: bytes, random: Random) -> bytes:
    """Something stands after it."""
    return content + random.choice((*SIGNS, content))


def recoded(content: bytes, random: Random) -> bytes:
    """Bytes of the header that are no UTF-8, or another coding."""
    end = 8 + int.from_bytes(content[:8], "little")
    text = content[8:end]
    at = random.randint(0, len(text))
    strange = random.choice((b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\0"))
    wrong = text[:at] + strange + text[at:]
    if random.random() < 0.2:
        wrong = text.decode(errors="replace").encode("utf-16")
    return len(wrong).to_bytes(8, "little") + wrong + content[end:]


DESCRIPTIONS: tuple[Callable[[Description, Random], None], ...] = (
    spoil_field, spoil_number, spoil_dtype, spoil_fields, spoil_place, spoil_name, spoil_metadata,
    spoil_data, spoil_blank,
)  # fmt: skip
CONTENTS: tuple[Callable[[bytes, Random], bytes], ...] = (
    flipped, cut, copied, misread, prefixed, lengthened, recoded,
)  # fmt: skip


def made(random: Random) -> bytes:
    """A file, with up to three things wrong with it."""
    described = right(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        random.choice(DESCRIPTIONS)(described, random)
    text = described.header(random).encode("utf-8", "surrogatepass")
    content = len(text).to_bytes(8, "little") + text + described.data
    return random.choice(CONTENTS)(content, random) if random.random() < 0.2 else content
