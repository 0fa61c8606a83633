"""Where pyoci knowingly leaves the spec, and for whom: the tests' names and the reasons, as docs/conformance.md has them.

Such a test must fail: when it passes, its row goes.
"""
DEVIATIONS = {
    "test_delete_of_a_created_container_is_refused_without_effect":
        "runc and crun delete a created container without --force, and containerd does so for a task that was never started",
}
