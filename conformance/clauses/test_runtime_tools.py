"""How conformance/runtime_tools.py judges what a test of the suite printed. (No clauses of the spec.)"""
import pytest
import runtime_tools

TAP = "TAP version 13\n"
ERROR = '  ---\n  {\n    "error": "hooks MUST be called\\nRefer to: somewhere"\n  }\n  ...\n'

CASES = {
    "points and plan": (0, TAP + "ok 1 - a\nok 2 - b\n1..2\n", "pass", ""),
    "no point is asked for": (0, TAP + "1..0\n", "pass", ""),
    "two documents": (0, TAP + "ok 1 - a\n1..1\n" + TAP + "ok 1 - b\n1..1\n", "pass", ""),
    "what a container printed is quoted": (0, TAP + "  ---\n  not ok 1 - quoted\n  ...\nok 1 - a\n1..1\n", "pass", ""),
    "diagnostic error beside a good point": (0, TAP + "ok 1 - a\n" + ERROR + "1..1\n", "pass", ""),
    "a known gap": (0, TAP + "not ok 1 # TODO later\n1..1\n", "pass", ""),
    "bad point": (0, TAP + "ok 1 - a\nnot ok 2 - b\n1..2\n", "fail", "not ok 2 - b"),
    "bad point in the second document": (0, TAP + "ok 1 - a\n1..1\n" + TAP + "not ok 1 - b\n1..1\n", "fail", "not ok 1 - b"),
    "exit status": (1, "", "fail", "exit status 1 (the reason)"),
    "missing point": (0, TAP + "ok 1 - a\n1..2\n", "fail", "plan of 2, but 1 points"),
    "missing plan": (0, TAP + "ok 1 - a\n", "fail", "no plan after 1 points"),
    "error without a point": (0, TAP + ERROR + "1..0\n", "fail", "error: hooks MUST be called"),
    "nothing at all": (0, "", "fail", "printed no TAP: its container's program did not run"),
    "skipped": (0, TAP + "ok 1 # SKIP not on this platform\n1..1\n", "skip", "SKIP not on this platform"),
}


@pytest.mark.parametrize(("status", "output", "verdict", "why"), CASES.values(), ids=[each.replace(" ", "-") for each in CASES])
def test_output_is_judged(status, output, verdict, why):
    assert runtime_tools.judge("default", status, output, "the reason\nexit status 1\n" if status else "") == (verdict, why)


def test_test_that_is_silent_when_it_passes_may_be_silent():
    assert runtime_tools.judge("process_rlimits_fail", 0, "", "") == ("pass", "")
