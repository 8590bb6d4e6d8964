"""What a judgement can say."""


class Wrong(Exception):
    """A requirement that does not hold (yet)."""


class Final(Wrong):
    """A requirement that no repetition can mend."""


def need(condition, message):
    if not condition:
        raise Wrong(message)


def must(condition, message):
    """As `need`, where a wrong answer is the end of it."""
    if not condition:
        raise Final(message)
