"""linux.seccomp -> the program that seccomp(2) loads.

compile_filter reads the object, refuses what cannot be had, lets libseccomp generate the programs, one for each layer of rules (layers.py), and puts the
ENOSYS stub in front (enosys.py). It neither loads nor stores anything; cache.py is how create and exec come here, and only for a filter not seen before.
Cold: it maps libseccomp and takes 10 ms for a profile of 400 calls.
Source: config-linux.md#seccomp, seccomp(2), seccomp_rule_add(3).
"""

from pyoci.errors import ConfigError, SyscallError, UnsupportedConfig
from pyoci.seccomp import enosys, layers

ROOT = "linux.seccomp"
CLAUSE = "config-linux.md#seccomp"

EPERM = 1
EOPNOTSUPP_ERRNOS = (22, 95)  # how a library without an attribute says so
MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
INSTRUCTION_BYTES = 8
MOST_LAYERS = MOST_INSTRUCTIONS // 8  # the shortest layer with a rule has eight
MOST_RULES_TESTED_IN_TURN = 32  # above this a binary tree over the numbers is the faster program

NOTIFY = 0x7FC00000
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_NOTIFY": NOTIFY,
}
# The most that each takes: libseccomp's limit for an errno, the 16 bits of SECCOMP_RET_DATA for a tracer's message.
ACTIONS_WITH_ERRNO = {"SCMP_ACT_ERRNO": 4094, "SCMP_ACT_TRACE": 0xFFFF}

OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# libseccomp's name is the rest in lower case. Which of them it knows depends on its version.
ARCHITECTURES = tuple(
    "SCMP_ARCH_" + name
    for name in [
        "X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL",
        "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "SH", "SHEB", "PARISC", "PARISC64",
        "RISCV64",
    ]
)

FLAG_LOG = 1 << 1
FLAG_SPEC_ALLOW = 1 << 2
FLAG_NEW_LISTENER = 1 << 3
FLAG_WAIT_KILLABLE_RECV = 1 << 5
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": FLAG_WAIT_KILLABLE_RECV,
}
# Accepted, and not passed on. TSYNC: init has one thread. WAIT_KILLABLE_RECV: it says how a notified call waits, there are none, and the kernel refuses it alone.
FLAGS_WITHOUT_EFFECT = 1 | FLAG_WAIT_KILLABLE_RECV


class Program:
    """What compile_filter makes.

    bpf       the array of struct sock_filter, in host byte order
    flags     the flags for SECCOMP_SET_MODE_FILTER
    warnings  lines for the debug log: what was skipped
    makers    the files that made it: libseccomp and this room's source; a change in one may change the program
    """

    def __init__(self, bpf, flags, warnings, makers):
        self.bpf = bpf
        self.flags = flags
        self.warnings = warnings
        self.makers = makers


class Rule:
    """One name of one entry of syscalls, read and checked; its number once libseccomp has told it."""

    def __init__(self, path, name, action, conditions, number=None):
        self.path = path
        self.name = name
        self.action = action
        self.conditions = conditions
        self.number = number


def compile_filter(seccomp, *, native_arch=None, supported_flags=None):
    """The Program for a linux.seccomp object, or None if it asks for no filter (absent, or neither a default action nor rules).

    native_arch      `SCMP_ARCH_AARCH64`: the machine that it is for, if not the one that libseccomp was built for
    supported_flags  the flags that the kernel accepts, or None to ask this one
    Raises ConfigError and UnsupportedConfig, each with the config path. config-linux.md#seccomp.
    """
    if not is_wanted(seccomp):
        return None
    default_action = read_action(seccomp, "defaultAction", "defaultErrnoRet", ROOT)
    if default_action == NOTIFY:
        raise ConfigError(f"{ROOT}.defaultAction", "SCMP_ACT_NOTIFY cannot be used as default action", CLAUSE)
    rules = read_rules(seccomp)
    check_listener(seccomp)
    architectures = read_architectures(seccomp)
    asked_flags = read_flags(seccomp)

    binding = load_binding()
    warnings = []
    flags = effective_flags(asked_flags, supported_flags, binding)
    native = arch_named(binding, native_arch, "") if native_arch else binding.Arch()
    arches = architectures_of(binding, native, architectures)
    wanted = numbered_rules(binding, rules, default_action, warnings)
    bpf = stub_for(binding, arches, rules, default_action) + layered_program(binding, arches, wanted, default_action, warnings)
    if len(bpf) > MOST_INSTRUCTIONS * INSTRUCTION_BYTES:
        raise too_long(f"{len(bpf) // INSTRUCTION_BYTES}")
    return Program(bpf, flags, warnings, [binding.library_path(), binding.__file__, enosys.__file__, layers.__file__, __file__])


def known():
    """What `features` tells about seccomp: {"enabled": False}, or also actions, operators, archs, knownFlags, supportedFlags and libseccomp's version."""
    try:
        binding = load_binding()
    except UnsupportedConfig:
        return {"enabled": False}
    return {
        "enabled": True,
        "actions": sorted(name for name, number in ACTIONS.items() if number != NOTIFY and binding.kernel_has_action(number)),
        "operators": sorted(OPERATORS),
        "archs": sorted(name for name in ARCHITECTURES if knows_arch(binding, name)),
        "knownFlags": sorted(FLAGS),
        "supportedFlags": sorted(name for name, flag in FLAGS.items() if kernel_has_flag(binding, flag)),
        "libseccompVersion": binding.version(),
    }


def is_wanted(seccomp):
    """Whether the object asks for a filter at all."""
    if seccomp is None:
        return False
    if not isinstance(seccomp, dict):
        raise ConfigError(ROOT, f"must be an object, not {shown(seccomp)}", CLAUSE)
    return seccomp.get("defaultAction") not in (None, "") or seccomp.get("syscalls") not in (None, [])


# Reading. The validator has seen the document before; these checks make the compiler total for its other callers (exec, tools, tests).


def read_action(owner, key, errno_key, path):
    """The 32-bit action of owner[key], with the errno of owner[errno_key] in it."""
    name = owner.get(key)
    if not name:
        raise ConfigError(f"{path}.{key}", "is required", CLAUSE)
    if not isinstance(name, str) or name not in ACTIONS:
        raise ConfigError(f"{path}.{key}", f"unknown action {shown(name)}", CLAUSE)
    number = owner.get(errno_key)
    if number is None:
        return ACTIONS[name] | (EPERM if name in ACTIONS_WITH_ERRNO else 0)
    if name not in ACTIONS_WITH_ERRNO:
        raise ConfigError(f"{path}.{errno_key}", f"{name} takes no errno", CLAUSE)
    return ACTIONS[name] | read_number(owner, errno_key, path, ACTIONS_WITH_ERRNO[name])


def read_number(owner, key, path, most):
    number = owner.get(key)
    if number is None:
        raise ConfigError(f"{path}.{key}", "is required", CLAUSE)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
        raise ConfigError(f"{path}.{key}", f"must be a number from 0 to {most}, not {shown(number)}", CLAUSE)
    return number


def read_list(owner, key, path):
    items = owner.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise ConfigError(f"{path}.{key}", f"must be a list, not {shown(items)}", CLAUSE)
    return items


def read_objects(owner, key, path):
    """(path, object) for each item of a list of objects."""
    for index, item in enumerate(read_list(owner, key, path)):
        item_path = f"{path}.{key}[{index}]"
        if not isinstance(item, dict):
            raise ConfigError(item_path, f"must be an object, not {shown(item)}", CLAUSE)
        yield item_path, item


def read_names(owner, key, path, kind, known_names=None):
    """(path, name) for each item of a list of names."""
    for index, name in enumerate(read_list(owner, key, path)):
        item_path = f"{path}.{key}[{index}]"
        if not isinstance(name, str) or not name or (known_names is not None and name not in known_names):
            raise ConfigError(item_path, f"unknown {kind} {shown(name)}", CLAUSE)
        yield item_path, name


def read_rules(seccomp):
    """Every name of every entry as a Rule, in the order of the document."""
    rules = []
    for path, entry in read_objects(seccomp, "syscalls", ROOT):
        action = read_action(entry, "action", "errnoRet", path)
        if action == NOTIFY:
            raise UnsupportedConfig(f"{path}.action", "SCMP_ACT_NOTIFY is not supported yet", CLAUSE)
        conditions = [read_condition(argument, argument_path) for argument_path, argument in read_objects(entry, "args", path)]
        rules += [Rule(name_path, name, action, conditions) for name_path, name in read_names(entry, "names", path, "system call")]
    return rules


def read_condition(argument, path):
    """(index, operator, value, value two)."""
    operator = argument.get("op")
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise ConfigError(f"{path}.op", f"unknown operator {shown(operator)}" if operator else "is required", CLAUSE)
    index = read_number(argument, "index", path, 5)
    value = read_number(argument, "value", path, 2**64 - 1)
    value_two = 0 if argument.get("valueTwo") is None else read_number(argument, "valueTwo", path, 2**64 - 1)
    return index, OPERATORS[operator], value, value_two


def read_architectures(seccomp):
    return list(read_names(seccomp, "architectures", ROOT, "architecture", ARCHITECTURES))


def read_flags(seccomp):
    """[(path, name)], or None where the document is silent, which isn't the same as an empty list."""
    if seccomp.get("flags") is None:
        return None
    return list(read_names(seccomp, "flags", ROOT, "flag", FLAGS))


def check_listener(seccomp):
    """A listener without notifications is ignored, as others do; metadata for no listener must not be given."""
    if seccomp.get("listenerMetadata") and not seccomp.get("listenerPath"):
        raise ConfigError(f"{ROOT}.listenerMetadata", "must not be set without listenerPath", CLAUSE)


def shown(value):
    """A value as the user wrote it, on one line and not too long."""
    import json  # an error is being made: its cost is nobody's

    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


# Building.


def load_binding():
    """The binding module. Raises UnsupportedConfig where there is no libseccomp."""
    try:
        from pyoci.seccomp import (
            binding,  # maps libseccomp, and can be missing: a build without its header has no such extension
        )
    except ImportError as error:
        raise UnsupportedConfig(ROOT, f"seccomp needs libseccomp: {error}", hint="install libseccomp2 and a build made with its header") from error
    return binding


def effective_flags(asked, supported, binding):
    """The flags for seccomp(2). Silence means SPEC_ALLOW where the kernel has it, an empty list means none."""

    def is_supported(flag):
        return kernel_has_flag(binding, flag) if supported is None else bool(flag & supported)

    if asked is None:
        return FLAG_SPEC_ALLOW if is_supported(FLAG_SPEC_ALLOW) else 0
    flags = 0
    for path, name in asked:
        if not is_supported(FLAGS[name]):
            raise UnsupportedConfig(path, f"this kernel has no {name}", CLAUSE)
        flags |= FLAGS[name] & ~FLAGS_WITHOUT_EFFECT
    return flags


def kernel_has_flag(binding, flag):
    """Whether the kernel accepts the flag; WAIT_KILLABLE_RECV only comes with a listener."""
    return binding.kernel_has_flags(flag | FLAG_NEW_LISTENER if flag == FLAG_WAIT_KILLABLE_RECV else flag)


def arch_named(binding, name, path):
    try:
        return binding.Arch(name.removeprefix("SCMP_ARCH_").lower())
    except ValueError as error:
        raise UnsupportedConfig(path or ROOT, f"libseccomp {binding.version()} does not know {name}", CLAUSE) from error


def knows_arch(binding, name):
    try:
        arch_named(binding, name, "")
    except UnsupportedConfig:
        return False
    return True


def architectures_of(binding, native, architectures):
    """The numbers of the architectures that the filter covers: the native one, then those of the document."""
    filter_ = new_filter(binding, binding.ALLOW, int(native))
    numbers = [int(native)]
    for path, name in architectures:
        arch = arch_named(binding, name, path)
        if int(arch) in numbers:
            continue
        try:
            filter_.add_arch(arch)
        except SyscallError as error:
            raise UnsupportedConfig(path, f"{name} cannot be filtered on this machine: {error}", CLAUSE) from error
        numbers.append(int(arch))
    return numbers


def new_filter(binding, default_action, arch):
    """An empty filter that covers one architecture."""
    filter_ = binding.SyscallFilter(default_action)
    if arch != binding.system_arch():
        filter_.remove_arch(binding.Arch())
        filter_.add_arch(arch)
    return filter_


def numbered_rules(binding, rules, default_action, warnings):
    """The rules that change anything, each with its call's number, in the document's order; alternatives are rules of their own."""
    found = []
    action_of = {}
    for rule in rules:
        if rule.action == default_action:
            continue  # libseccomp refuses a rule that says what happens anyway
        # The library takes its own machine's numbers, whatever machine the filter is for.
        number = binding.number_of(binding.system_arch(), rule.name)
        if number == binding.UNKNOWN_SYSCALL:
            warnings.append(f"{rule.path}: unknown system call {shown(rule.name)} skipped")
            continue
        for conditions in alternatives(rule.conditions):
            if conditions and action_of.setdefault((number, *sorted(conditions)), rule.action) != rule.action:
                raise ConfigError(rule.path, f"{shown(rule.name)}: an earlier rule gives it another action", CLAUSE)
            found.append(Rule(rule.path, rule.name, rule.action, conditions, number))
    return found


def layered_program(binding, arches, rules, default_action, warnings):
    """The program for the rules: libseccomp's for each layer, chained."""
    stack = layers.layers_of(rules)
    if len(stack) > MOST_LAYERS:
        raise too_long(f"more than {MOST_INSTRUCTIONS}")
    go_on = layers.unused_action({default_action, *(rule.action for rule in rules)})
    programs = []
    for depth, layer in enumerate(stack, 1):
        filter_ = filter_of_layer(binding, arches, layer, default_action if depth == len(stack) else go_on)
        if len(layer) > MOST_RULES_TESTED_IN_TURN:
            optimise(binding, filter_, warnings)
        programs.append(filter_.to_bytes())
    return layers.chain(programs, go_on)


def filter_of_layer(binding, arches, rules, default_action):
    """One filter for all architectures, of which each gets the rules for calls that it has.

    A filter that covers them from the start takes every rule for each; where the first is for a call that the architecture lacks, libseccomp 2.5.4 drops it
    together with the instruction that loads the number, and the rest compares the architecture instead.
    """
    whole = None
    for arch in arches:
        part = new_filter(binding, default_action, arch)
        for rule in rules:
            if binding.number_of(arch, rule.name) > binding.MISSING_HERE:
                add_rule(binding, part, rule)
        if whole:
            whole.merge(part)
        else:
            whole = part
    return whole


def too_long(count):
    return UnsupportedConfig(ROOT, f"the filter has {count} instructions, and the kernel takes at most {MOST_INSTRUCTIONS}")


def optimise(binding, filter_, warnings):
    try:
        filter_.set_attr(binding.Attr.CTL_OPTIMIZE, 2)
    except SyscallError as error:
        if error.errno not in EOPNOTSUPP_ERRNOS:
            raise
        warnings.append(f"libseccomp {binding.version()} has no binary tree optimisation")


def alternatives(conditions):
    """The rules that a list of conditions makes: one that needs all of them, or, if two are on the same argument, one for each.

    libseccomp takes one condition an argument, and others have long read two of them as "or".
    """
    indexes = [condition[0] for condition in conditions]
    if len(set(indexes)) == len(indexes):
        return [conditions]
    return [[condition] for condition in conditions]


def add_rule(binding, filter_, rule):
    try:
        filter_.add_rule(rule.action, rule.number, *[binding.Arg(*condition) for condition in rule.conditions])
    except SyscallError as error:
        raise ConfigError(rule.path, f"{shown(rule.name)}: {error}", CLAUSE) from error


def stub_for(binding, arches, rules, default_action):
    """The ENOSYS stub for the architectures, or nothing where the default action doesn't stand in the way of new calls."""
    if not enosys.is_needed(default_action):
        return b""
    names = {rule.name for rule in rules}
    return enosys.stub(enosys.horizons(arches, names, binding.number_of, binding.name_of))
