"""hooks -> operations.  Imported only for a config that has some.  config.md#posix-platform-hooks"""

from pyoci.plan.plan import Op
from pyoci.spec.decode import encode
from pyoci.spec.names import SPEC_VERSION


def runtime_hooks(ops, hooks, kind, status):
    """Hooks of one kind that HOST runs: prestart, createRuntime, poststart, poststop."""
    for index, hook in enumerate(hooks.get(kind) or ()):
        ops.append(Op("hook", f"hooks.{kind}[{index}]", kind, index, *_call(hook, hook.get("env") or []), status))


def container_hooks(ops, hooks, kind, status, state, default_env):
    """Hooks that INIT runs: createContainer, startContainer.  `state`: the state document without status and pid."""
    entries = hooks.get(kind) or ()
    if not entries:
        return
    text = encode({**state, "status": status, "pid": 0})
    head, _, tail = text.rpartition('"pid":0')
    for index, hook in enumerate(entries):
        env = hook.get("env")
        call = _call(hook, default_env if env is None else env)
        ops.append(Op("hook_inside", f"hooks.{kind}[{index}]", kind, index, *call, head + '"pid":', tail))


def _call(hook, env):
    return hook["path"], list(hook.get("args") or [hook["path"]]), list(env), hook.get("timeout") or 0


def state_document(container_id, bundle, annotations):
    """The state that a hook reads, without status and pid.  runtime.md#state"""
    document = {"ociVersion": SPEC_VERSION, "id": container_id, "bundle": bundle}
    if annotations:
        document["annotations"] = annotations
    return document
