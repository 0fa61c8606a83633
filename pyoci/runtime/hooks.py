"""The hooks after create: poststart, and poststop, which a create that a hook made fail needs too.  Cold: most bundles have none.

config.md#posix-platform-hooks, runtime.md#lifecycle
"""

from pyoci.errors import OperationFailed
from pyoci.launch.hooks import run_hook
from pyoci.runtime.create import state_text


def run_hooks(kind, record, status, pid, warn=None, signals=None):
    """Run a record's hooks of one kind in order.  With `warn` a failure is told and the next one runs; else it is raised.
    `signals`: as of launch.hooks.run_hook.

    record  a dict with id, bundle, annotations and hooks: a container's record, or what create knows before there is one
    """
    hooks = (record.get("hooks") or {}).get(kind) or ()
    state = state_text(record["id"], record["bundle"], record, status, pid)
    for index, hook in enumerate(hooks):
        args = hook.get("args") or [hook["path"]]
        try:
            run_hook(kind, index, hook["path"], args, hook.get("env") or [], hook.get("timeout") or 0, state, None, signals)
        except OperationFailed as error:
            if not warn:
                raise
            warn(str(error))
