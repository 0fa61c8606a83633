"""ops.py -> init's ops.h: `python -m pyoci.plan.header > ops.h`.  Run by the build only."""

from pyoci.plan import ops, wire

_C_TYPE = {"i": "int64_t", "f": "int64_t", "s": "const char *", "l": "struct list", "b": "struct blob"}


def _field(word):
    name, kind = word.split(":")
    c_type = _C_TYPE[kind]
    return f"\t{c_type}{'' if c_type.endswith('*') else ' '}{name}_;"


def text():
    """The header: kinds, one struct of arguments an INIT operation, the argument kinds for the reader, the steps."""
    lines = ["/* Made from pyoci/plan/ops.py by pyoci/plan/header.py. */", "#pragma once", "",
             f"#define PLAN_MAGIC {wire.MAGIC}u", f"#define PLAN_VERSION {wire.VERSION}u", f"#define MAX_SLOTS {wire.MAX_SLOTS}", ""]
    lines += [f"#define MESSAGE_{name} {getattr(wire, name)}u" for name in ("RUN", "DONE", "TURN", "FAIL", "WARN", "GO", "CHILD")]
    lines += ["", "enum op_kind {"]
    lines += [f"\tOP_{row[0].upper()} = {number}," for number, row in enumerate(ops.TABLE)]
    lines += ["};", f"#define OP_KINDS {len(ops.TABLE)}u", ""]
    lines += ["/* The argument kinds of each operation, in order; the actor is its first letter. */",
              "static const char *const op_arguments[OP_KINDS] = {"]
    lines += [f'\t"{"HI"[row[1]]}{"".join(ops.KINDS[number])}",' for number, row in enumerate(ops.TABLE)]
    lines += ["};", ""]
    for row in ops.TABLE:
        if row[1] == ops.INIT and row[2]:
            lines += [f"struct op_{row[0]} {{", *(_field(word) for word in row[2].split()), "};"]
    lines += ["", "enum step {"]
    for number, step in enumerate(ops.STEPS):
        word = step.upper().replace(" ", "_").replace("-", "_") or "NONE"
        lines.append(f"\tSTEP_{word} = {number},")
    lines += ["};", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(text())
