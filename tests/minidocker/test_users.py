"""Who a container's process is, out of files that an image brings."""

import pytest

from pyoci.minidocker import users
from pyoci.minidocker.errors import BadRequest

LONG = "9" * 5000


def root_of(tmp_path, passwd="", group=""):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(passwd)
    (tmp_path / "etc" / "group").write_text(group)
    return tmp_path


@pytest.mark.parametrize("word", ["\u00b2", LONG, "-1", "0x1", " 1", "\u0661"], ids=["superscript", "5000 digits", "negative", "hex", "blank", "arabic"])
def test_word_that_is_no_number_is_a_name_that_is_not_there(tmp_path, word):
    root = root_of(tmp_path, "me:x:1000:1000::/:\n")
    for user, more in ((word, ()), (f"0:{word}", ()), ("0", (word,))):
        with pytest.raises(BadRequest, match=r"^unable to find (user|group) .*: no matching entries in (passwd|group) file$"):
            users.resolve(root, user, more)


@pytest.mark.parametrize("word", ["2147483648", "9999999999"])
def test_id_that_no_process_can_have_is_refused(tmp_path, word):
    root = root_of(tmp_path)
    for user, more in ((word, ()), (f"0:{word}", ()), ("0", (word,))):
        with pytest.raises(BadRequest, match="^uids and gids must be in range 0-2147483647$"):
            users.resolve(root, user, more)


@pytest.mark.parametrize("number", ["\u00b2", LONG, "", "-1", "4294967295", "x"])
def test_rows_with_an_impossible_id_are_passed_over(tmp_path, number):
    group = f"odd:x:{number}:me\nplain:x:7:me\n"
    root = root_of(tmp_path, f"me:x:{number}:5::/:\nme:x:1000:{number}::/:\n", group)
    assert users.resolve(root, "me") == {"uid": 1000, "gid": 0, "additionalGids": [0, 7]}
    with pytest.raises(BadRequest, match="^unable to find group odd"):
        users.resolve(root, "me", ("odd",))


def test_rows_end_at_line_feeds_alone(tmp_path):
    root = root_of(tmp_path, "a:x:1:1:x\u2028root2:x:0:0::/:\n")
    assert users.resolve(root, "a")["uid"] == 1
    with pytest.raises(BadRequest):
        users.resolve(root, "root2")
