"""Three real inputs that need no network, and the baseline to beat.

    text.py       English (every Python carries it) or your own file, character by character
    bigram.py     the baseline: a model that looks at one character only
    digits.py     1,797 handwritten digits, from scikit-learn
    dates.py      dates as people write them → ISO 8601
    pronouns.py   sentences with a pronoun, and the noun it means

The last two are generated from a seed, with test parts that share nothing with the training parts.
"""

from .bigram import Bigram
from .dates import Dates, dates
from .digits import Digits, digits
from .errors import DataError
from .pronouns import Pronouns, pronouns
from .text import Text, batches, text, windows
from .vocabulary import Vocabulary

__all__ = [
    "Bigram",
    "DataError",
    "Dates",
    "Digits",
    "Pronouns",
    "Text",
    "Vocabulary",
    "batches",
    "dates",
    "digits",
    "pronouns",
    "text",
    "windows",
]
