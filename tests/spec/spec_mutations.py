"""Every document that differs from a given one in one place: a member dropped, doubled, misspelt, or of another value."""

import copy

VALUES = (
    None, True, 0, -1, 1, 256, 512, 1000000, 1 << 16, 1 << 31, 1 << 32, 1 << 63, 1 << 64, -(1 << 31) - 1, -(1 << 63) - 1,
    1.0, 1.5, "", "x", "nonsense\n", "/", "..", "SCMP_ACT_ALLOW", "private", "rprivate", "RLIMIT_MADE_UP", "RLIMIT_FOO", "0KB", "64kB",
    [], {}, [None], [1], ["x"], [{}], [[]], {"x": 1}, {"x": "y"}, {"x": {}}, {"x": None}, {"": "y"},
)  # fmt: skip


def mutations(document, under=()):
    """Yields (what was done, the mutated copy) for all places at or below `under`. The copies share nothing with the document."""
    for steps in places(document):
        if steps[: len(under)] != under:
            continue
        for value in VALUES:
            yield f"{steps} = {value!r}", replaced(document, steps, value)
        owner, last = _at(document, steps[:-1]), steps[-1]
        without = copy.deepcopy(document)
        del _at(without, steps[:-1])[last]
        yield f"{steps} dropped", without
        if isinstance(owner, list):
            doubled = copy.deepcopy(document)
            _at(doubled, steps[:-1]).append(copy.deepcopy(owner[last]))
            yield f"{steps} doubled", doubled
        else:
            added = copy.deepcopy(document)
            _at(added, steps[:-1])["unknownMember"] = {"any": ["thing"]}
            yield f"{steps} beside an unknown member", added
        if isinstance(owner[last], str):
            yield f"{steps} in other letters", replaced(document, steps, owner[last].swapcase())
            yield f"{steps} prolonged", replaced(document, steps, owner[last] + "x")


def places(value, steps=()):
    """The steps to every member and element, outermost first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield (*steps, step)
        yield from places(item, (*steps, step))


def replaced(document, steps, value):
    """A copy with another value at `steps`."""
    changed = copy.deepcopy(document)
    _at(changed, steps[:-1])[steps[-1]] = copy.deepcopy(value)
    return changed


def _at(value, steps):
    for step in steps:
        value = value[step]
    return value
