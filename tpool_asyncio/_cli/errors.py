"""How a command says that it cannot go on."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """Ends the command with a message for the user, one sentence that names the remedy, and an exit code."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code
