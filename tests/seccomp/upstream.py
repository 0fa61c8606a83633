"""The oracle: upstream's own binding, in Debian's interpreter, which it was built for (python3-seccomp).

Run as a program it reads one request a line, {"default", "arches", "optimise", "rules": [[action, name, [[index, operator, value, value two]]]]}, and answers
{"bpf": hex} or {"errno": n}. build() asks it.
"""

import functools
import json
import re
import subprocess
import sys
import tempfile


class Refused(Exception):
    """Upstream refused; args[0] is libseccomp's errno."""


@functools.cache
def server():
    return subprocess.Popen(["/usr/bin/python3", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def build(default, arches, rules, optimise):
    """The program that upstream makes. Raises Refused."""
    request = {"default": default, "arches": arches, "rules": rules, "optimise": optimise}
    server().stdin.write(json.dumps(request) + "\n")
    server().stdin.flush()
    answer = json.loads(server().stdout.readline())
    if "errno" in answer:
        raise Refused(answer["errno"])
    return bytes.fromhex(answer["bpf"])


def signed(action):
    """Upstream's actions are C ints."""
    return action - 2**32 if action >= 2**31 else action


def answer(seccomp, request):
    made = seccomp.SyscallFilter(signed(request["default"]))
    for arch in request["arches"]:
        if not made.exist_arch(seccomp.Arch(arch)):
            made.add_arch(seccomp.Arch(arch))
    if request["optimise"]:
        made.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    try:
        for action, name, conditions in request["rules"]:
            made.add_rule(signed(action), name, *[seccomp.Arg(*condition) for condition in conditions])
    except RuntimeError as error:
        return {"errno": -int(re.search(r"-?\d+", str(error))[0])}
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return {"bpf": file.read().hex()}


def main():
    import seccomp

    for line in sys.stdin:
        print(json.dumps(answer(seccomp, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
