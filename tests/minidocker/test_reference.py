"""reference.py: docker's grammar.  The rows were compared with what the docker command says of the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyoci.minidocker.errors import BadRequest
from pyoci.minidocker.images.reference import parse

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "normal", "familiar"),
    [
        ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
        ("me/web", "docker.io/me/web:latest", "me/web:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/web", "localhost/web:latest", "localhost/web:latest"),
        ("localhost:5000/web", "localhost:5000/web:latest", "localhost:5000/web:latest"),
        ("host:5000/a/b:t", "host:5000/a/b:t", "host:5000/a/b:t"),
        ("quay.io/a/b", "quay.io/a/b:latest", "quay.io/a/b:latest"),
        ("Host/a", "Host/a:latest", "Host/a:latest"),
        ("host/a", "docker.io/host/a:latest", "host/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest", "127.0.0.1:5000/a:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
        ("a__b/c-d.e_f--g", "docker.io/a__b/c-d.e_f--g:latest", "a__b/c-d.e_f--g:latest"),
        ("a:" + "t" * 128, "docker.io/library/a:" + "t" * 128, "a:" + "t" * 128),
    ],
)
def test_name_is_normalized_and_familiar(text, normal, familiar):
    reference = parse(text)
    assert (str(reference), reference.familiar()) == (normal, familiar)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "invalid reference format: the name is empty"),
        ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
        ("a/B:Tag", "invalid reference format: repository name (a/B) must be lowercase"),
        ("a:b:c", "invalid reference format: 'a:b:c'"),
        ("a:", "invalid reference format: 'a:'"),
        ("a:-x", "invalid reference format: 'a:-x'"),
        ("a/", "invalid reference format: 'a/'"),
        ("/a", "invalid reference format: '/a'"),
        ("a//b", "invalid reference format: 'a//b'"),
        ("-a", "invalid reference format: '-a'"),
        ("a..b", "invalid reference format: 'a..b'"),
        ("a___b", "invalid reference format: 'a___b'"),
        ("../../etc/passwd", "invalid reference format: '../../etc/passwd'"),
        ("a b", "invalid reference format: 'a b' has a space"),
        ("a\n", "invalid reference format: 'a\n' has a space"),
        ("https://host/a", "invalid reference format: 'https://host/a' is an address, a name has no scheme"),
        ("a:" + "t" * 129, "invalid reference format: 'a:" + "t" * 129 + "'"),
        ("a" * 256, "invalid reference format: repository name must not be more than 255 characters"),
        (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        ("a@sha256:abc", "invalid reference format: 'a@sha256:abc'"),
        ("a@" + DIGEST.upper(), f"invalid reference format: unsupported digest algorithm: '{DIGEST.upper()}'"),
        ("a@sha256:" + HEX.upper(), f"invalid reference format: invalid checksum digest: 'sha256:{HEX.upper()}'"),
        ("a@sha512:" + HEX, f"invalid reference format: invalid checksum digest: 'sha512:{HEX}'"),
        ("a@md5:" + HEX[:32], f"invalid reference format: unsupported digest algorithm: 'md5:{HEX[:32]}'"),
    ],
)
def test_wrong_name_is_refused_in_dockers_words(text, said):
    with pytest.raises(BadRequest) as caught:
        parse(text)
    assert str(caught.value) == said


def test_bare_name_stays_bare_where_it_is_asked_for():
    assert str(parse("busybox", default_tag="")) == "docker.io/library/busybox"


def test_name_of_255_characters_is_accepted():
    longest = "a" * (255 - len("docker.io/library/"))
    assert parse(longest).name == f"docker.io/library/{longest}"


def test_digest_replaces_the_tag():
    assert str(parse("busybox:1").with_digest(DIGEST)) == f"docker.io/library/busybox@{DIGEST}"


@given(st.text(alphabet="aB0._-/:@[]\n sh256", max_size=40))
def test_normalized_name_and_familiar_name_mean_the_same(text):
    try:
        reference = parse(text)
    except BadRequest:
        return
    assert parse(str(reference)) == parse(reference.familiar()) == reference
