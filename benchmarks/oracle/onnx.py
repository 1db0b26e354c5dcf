"""x"""


class Unsupported(Exception):
    """What an adapter refuses."""
