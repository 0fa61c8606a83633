"""A stand-in for pyoci.api, for tests of the command line: it records what was asked, and answers what a test tells it."""

STATE = {
    "ociVersion": "1.3.0",
    "id": "web",
    "pid": 42,
    "status": "running",
    "bundle": "/b",
    "rootfs": "/b/rootfs",
    "created": "2026-11-25T01:02:03.000000004Z",
    "annotations": {"org.x": "<ä>"},
    "owner": "",
}


class FakePlan:
    def text(self):
        return "1 bind /proc"

    def json_document(self):
        return {"operations": []}


class FakeApi:
    """What a test sets up (answers, errors by method) and what was called."""

    def __init__(self):
        self.made = []
        self.calls = []
        self.warnings = []
        self.answers = {
            "state": STATE, "list": [STATE], "ps": [1, 42], "run": 0, "exec": 0, "exec_process": {"args": ["sh"], "cwd": "/"},
            "stats": {"pids": {"current": 1}}, "events": [{"type": "stats", "id": "web", "data": {}}], "features": {"ociVersionMin": "1.0.0"},
            "spec": {"ociVersion": "1.3.0", "root": {"path": "rootfs"}}, "plan": FakePlan(),
        }  # fmt: skip

    def runtime(self, root="/run/pyoci", *, systemd_cgroup=False, rootless=None, warn=None):
        self.made.append({"root": root, "systemd_cgroup": systemd_cgroup, "rootless": rootless, "warn": warn})
        return FakeRuntime(self, warn)


class FakeRuntime:
    def __init__(self, api, warn):
        self._api = api
        self._warn = warn

    def __getattr__(self, method):
        def called(*arguments, **options):
            self._api.calls.append((method, arguments, options))
            for text in self._api.warnings:
                if self._warn:
                    self._warn(text)
            answer = self._api.answers.get(method)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return called
