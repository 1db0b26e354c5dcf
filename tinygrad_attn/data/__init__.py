"""Real inputs that need no network, and the baseline to beat.

    text.py       English (every Python carries it) or your own file, character by character
    bigram.py     the baseline: a model that looks at one character only
    digits.py     1,797 handwritten digits, from scikit-learn
    pairs.py      short texts and what they shall become: your own file, or
    dates.py      dates as people write them → ISO 8601
    pronouns.py   sentences with a pronoun, and the noun it means
    sources.py    batches without end, which can go on where they stood
    digest.py     whether two corpora are the same

Dates and pronouns are generated from a seed; no day and no two nouns of their test parts come up in
their training parts.
"""

from .bigram import Bigram
from .dates import dates
from .digest import digest
from .digits import Digits, digits, image
from .errors import DataError
from .pairs import Pair, Pairs, pairs
from .pronouns import Pronouns, pronouns
from .sources import RandomWindows, Shuffled, Source
from .text import Text, batches, text, windows
from .vocabulary import Vocabulary

__all__ = [
    "Bigram",
    "DataError",
    "Digits",
    "Pair",
    "Pairs",
    "Pronouns",
    "RandomWindows",
    "Shuffled",
    "Source",
    "Text",
    "Vocabulary",
    "batches",
    "dates",
    "digest",
    "digits",
    "image",
    "pairs",
    "pronouns",
    "text",
    "windows",
]
