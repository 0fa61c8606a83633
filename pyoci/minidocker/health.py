"""Health checks: when the next is due, what one says, and the status that follows.

The monitor waits and starts `deeds.py health ID`; this runs the command with a time limit, counts, and prints when to come again.
Source: docker-run(1), --health-*; Dockerfile HEALTHCHECK; Engine API v1.44 Health.
"""

import json

NS_PER_MS = 1_000_000
INTERVAL_NS, TIMEOUT_NS, START_INTERVAL_NS, RETRIES = 30 * 10**9, 30 * 10**9, 5 * 10**9, 3
LOG_LENGTH, OUTPUT_BYTES = 5, 4096
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"


class Check:
    """A Healthcheck with docker's defaults filled in.  `argv` is empty where there is none."""

    __slots__ = ("argv", "interval_ns", "retries", "start_interval_ns", "start_period_ns", "timeout_ns")

    def __init__(self, body):
        check = body.get("Healthcheck") or {}
        test = check.get("Test") or []
        self.argv = []
        if test and test[0] == "CMD":
            self.argv = test[1:]
        elif test and test[0] == "CMD-SHELL":
            self.argv = [*(body.get("Shell") or ["/bin/sh", "-c"]), *test[1:2]]
        self.interval_ns = check.get("Interval") or INTERVAL_NS
        self.timeout_ns = check.get("Timeout") or TIMEOUT_NS
        self.start_period_ns = check.get("StartPeriod") or 0
        self.start_interval_ns = check.get("StartInterval") or START_INTERVAL_NS
        self.retries = check.get("Retries") or RETRIES

    def next_ms(self, health, running_ns):
        """When the next check is due, in milliseconds from now."""
        in_start = running_ns < self.start_period_ns and health["Status"] == STARTING
        return max(1, (min(self.start_interval_ns, self.interval_ns) if in_start else self.interval_ns) // NS_PER_MS)


def first(container):
    """The health column of a container that starts, "" without a check."""
    return json.dumps({"Status": STARTING, "FailingStreak": 0, "Log": []}) if Check(container.body).argv else ""


def first_ms(container):
    """When the first check is due, 0 without one."""
    check = Check(container.body)
    return check.next_ms({"Status": STARTING}, 0) if check.argv else 0


def judge(check, health, result, running_ns):
    """The health after one result {"Start", "End", "ExitCode", "Output"}.  Pure.

    Failures in the start period don't count; one success ends it.
    """
    made = {**health, "Log": [*health["Log"], result][-LOG_LENGTH:]}
    if result["ExitCode"] == 0:
        return {**made, "Status": HEALTHY, "FailingStreak": 0}
    if health["Status"] == STARTING and running_ns < check.start_period_ns:
        return made
    streak = health["FailingStreak"] + 1
    return {**made, "FailingStreak": streak, "Status": UNHEALTHY if streak >= check.retries else health["Status"]}
