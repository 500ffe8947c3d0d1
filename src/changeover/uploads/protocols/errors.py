"""The error of every parser in this room."""


class MalformedField(ValueError):
    """A field is not what its specification allows; the text names it. `type`: the URI of a registered problem type."""

    def __init__(self, what: str, type: str = "") -> None:
        super().__init__(what)
        self.type = type
