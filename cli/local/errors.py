"""Errors of starting and keeping processes on this machine; the messages are for the person at the terminal."""


class StartError(Exception):
    """A service or child process cannot be started. The text says what to do next."""


class ChildError(StartError):
    """The child `name` did not become ready, or died too often. The text ends with the tail of its log."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
