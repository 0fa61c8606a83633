"""Dockerfile instructions as --change takes them."""

import pytest

from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.images.instructions import apply_changes

TABLE = {
    "cmd json": (['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
    "cmd shell": (["cmd a  b"], {"Cmd": ["/bin/sh", "-c", "a  b"]}),
    "cmd broken json": (['CMD ["a"'], {"Cmd": ["/bin/sh", "-c", '["a"']}),
    "entrypoint takes the image's command away": (['ENTRYPOINT ["x"]'], {"Entrypoint": ["x"]}),
    "entrypoint keeps a command that came with it": (['CMD ["y"]', 'ENTRYPOINT ["x"]'], {"Entrypoint": ["x"], "Cmd": ["y"]}),
    "env": (["ENV A=1 B='2 3' C=\"4 \\\" 5\" D=6\\ 7"], {"Env": ["OLD=0", "A=1", "B=2 3", 'C=4 " 5', "D=6 7"]}),
    "env old form": (["ENV A some words"], {"Env": ["OLD=0", "A=some words"]}),
    "env replaces": (["ENV OLD=1", "ENV OLD=2"], {"Env": ["OLD=2"]}),
    "env empty": (["ENV A="], {"Env": ["OLD=0", "A="]}),
    "label": (['LABEL a=b "c d"=e'], {"Labels": {"a": "b", "c d": "e"}}),
    "expose": (["EXPOSE 80 53/udp 8000-8001/TCP"], {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
    "volume words": (["VOLUME /a /b"], {"Volumes": {"/a": {}, "/b": {}}}),
    "volume json": (['VOLUME ["/a b"]'], {"Volumes": {"/a b": {}}}),
    "workdir": (["WORKDIR /a", "WORKDIR b/../c"], {"WorkingDir": "/a/c"}),
    "user": (["USER 1:2"], {"User": "1:2"}),
    "stopsignal": (["STOPSIGNAL SIGQUIT"], {"StopSignal": "SIGQUIT"}),
    "onbuild": (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
    "healthcheck": (
        ["HEALTHCHECK --interval=1m30s --retries=2 CMD curl x"],
        {"Healthcheck": {"Test": ["CMD-SHELL", "curl x"], "Interval": 90 * 10**9, "Retries": 2}},
    ),
    "healthcheck json": (['HEALTHCHECK CMD ["a"]'], {"Healthcheck": {"Test": ["CMD", "a"]}}),
    "healthcheck none": (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
}


@pytest.mark.parametrize(("lines", "wanted"), TABLE.values(), ids=TABLE.keys())
def test_instruction(lines, wanted):
    config = {"Env": ["OLD=0"], "Cmd": ["old"]}
    found = apply_changes(dict(config), lines)
    if "Entrypoint" in wanted:
        config.pop("Cmd")
    assert found == {**config, **wanted}


BAD = {
    "unknown": ("RUN x", "run is not a valid change command"),
    "empty": ("", "an empty line is not a valid change command"),
    "no argument": ("CMD", "CMD requires an argument"),
    "env alone": ("ENV A", "ENV must have two arguments"),
    "env later word": ("ENV A=1 B", "can't find = in 'B'"),
    "env quote": ("ENV A='1", "a quote is not closed"),
    "label name": ("LABEL =x", "can't find ="),
    "port": ("EXPOSE http", "invalid containerPort: http"),
    "port range": ("EXPOSE 70000", "invalid containerPort: 70000"),
    "volume": ('VOLUME [""]', "can not be an empty string"),
    "signal": ("STOPSIGNAL a b", "Invalid signal: a b"),
    "onbuild": ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    "user": ("USER a b", "USER requires exactly one argument"),
    "healthcheck": ("HEALTHCHECK x", 'Unknown type "X" in HEALTHCHECK'),
    "healthcheck flag": ("HEALTHCHECK --x=1 CMD a", "unknown flag: x"),
    "healthcheck time": ("HEALTHCHECK --interval=x CMD a", 'invalid duration "x"'),
    "healthcheck retries": ("HEALTHCHECK --retries=x CMD a", "--retries must be a number"),
}


@pytest.mark.parametrize(("line", "words"), BAD.values(), ids=BAD.keys())
def test_wrong_instruction_is_refused(line, words):
    with pytest.raises(BadRequest) as caught:
        apply_changes({}, [line])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "line", ["EXPOSE " + "9" * 5000, "EXPOSE \u0661", "HEALTHCHECK --retries=\u00b2 CMD true", "HEALTHCHECK --retries=" + "9" * 5000 + " CMD true"], ids=range(4)
)
def test_number_that_is_none_is_one_line(line):
    with pytest.raises(BadRequest):
        apply_changes({}, [line])


def test_command_of_a_thousand_brackets_is_the_shells():
    assert apply_changes({}, ["CMD " + "[" * 100_000])["Cmd"][:2] == ["/bin/sh", "-c"]
