"""Several rules for one call, in layers: programs one after another, each with at most one rule a call.

libseccomp 2.5 must not be given two conditional rules for one call. It merges them into one tree, and where their ranges differ in the upper 32 bits the tree
is wrong (`arg0 >= 2**32` and `arg0 <= 0` together also match 1); with two arguments it can loop for ever. It is sound for one rule a call. So the first
rule of every call goes into the first program, the second into the next, and so on; where a program would take the default action it goes on to the next one.
What comes first in the document decides, except that a rule without conditions for a call beats all others, which is libseccomp's reading too. Pure. Cold.
Source: seccomp_rule_add(3), linux/bpf_common.h.
"""

from _struct import iter_unpack, pack

JA, RET_K = 0x05, 0x06
INSTRUCTION_BYTES = 8
TRACE = 0x7FF00000


def layers_of(rules):
    """Rules (with .number and .conditions) in the document's order -> lists of them, in each of which a number occurs once."""
    rules_of = {}
    for rule in rules:
        rules_of.setdefault(rule.number, []).append(rule)
    layers = [[]]
    for same in rules_of.values():
        unconditional = [rule for rule in same if not rule.conditions]
        for depth, rule in enumerate(unconditional[:1] or same):
            if depth == len(layers):
                layers.append([])
            layers[depth].append(rule)
    return layers


def unused_action(actions):
    """An action that is none of these, to stand for "ask the next layer" while libseccomp generates a program."""
    return next(TRACE | message for message in range(0xFFFF, -1, -1) if TRACE | message not in actions)


def chain(programs, go_on):
    """One program: each but the last jumps to the next one where it returns go_on."""
    return b"".join([*[falling_through(bpf, go_on) for bpf in programs[:-1]], programs[-1]])


def falling_through(bpf, go_on):
    """The program with each return of go_on made a jump to what follows it."""
    count = len(bpf) // INSTRUCTION_BYTES
    instructions = []
    for at, (code, jt, jf, k) in enumerate(iter_unpack("=HBBI", bpf)):
        is_default = code == RET_K and k == go_on
        instructions.append((JA, 0, 0, count - at - 1) if is_default else (code, jt, jf, k))
    return b"".join(pack("=HBBI", *instruction) for instruction in instructions)
