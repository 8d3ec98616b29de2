"""What can go wrong in a lab, as sentences for people."""


class LabError(Exception):
    """The lab can not be made, or broke. The text says what is missing and how to get it. Exit code 125."""


class UsageError(LabError):
    """The words make no sense: an unknown word, an absurd value, a file with a key nobody knows. Exit code 2."""
