"""Op and Plan: one ordered list of operations in three acts, as values.  No call is made here."""

from pyoci.plan.ops import HOST, KINDS, NUMBER, TABLE


_ROWS = {name: (number, len(KINDS[number])) for name, number in NUMBER.items()}


class Op:
    """One operation.

    number      row of ops.TABLE
    args        values in the order of the row
    origin      the config path that asked for it, or `default`
    overlapped  a HOST operation that runs while INIT works
    """

    __slots__ = ("number", "args", "origin", "overlapped")

    def __init__(self, name, origin, *args, overlapped=False):
        self.number, count = _ROWS[name]
        self.args = args
        self.origin = origin
        self.overlapped = overlapped
        if len(args) != count:
            raise TypeError(f"{name} takes {TABLE[self.number][2]!r}, not {args!r}")

    @property
    def name(self):
        """The operation's name."""
        return TABLE[self.number][0]

    @property
    def actor(self):
        """HOST or INIT."""
        return TABLE[self.number][1]

    @property
    def is_host(self):
        """Whether Python carries it out."""
        return TABLE[self.number][1] == HOST


class Plan:
    """The three acts: `create`, `start` and `delete` are lists of Op; `warnings` is a list of sentences."""

    __slots__ = ("create", "start", "delete", "warnings")

    def __init__(self):
        self.create = []
        self.start = []
        self.delete = []
        self.warnings = []

    def text(self):
        """The plan for people; see pyoci.plan.show."""
        from pyoci.plan.show import text  # cold: only `pyoci plan` reads it

        return text(self)

    def json_document(self):
        """The plan for programs: a dict that schemas/plan.schema.json describes."""
        from pyoci.plan.show import document  # cold

        return document(self)
