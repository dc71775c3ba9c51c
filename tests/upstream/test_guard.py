"""The guard: nobody is led from a public place into the house"""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifactstore.core.errors import Invalid, Unavailable
from artifactstore.upstream.guard import Guard, Place, Scope, resolve, scope

PUBLIC, OTHER = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def guard(url, *addresses, trusted=()):
    place = Place.of(url)
    return Guard(place, resolver=lambda host, port: addresses, trusted=frozenset(trusted)), place


def enter(url, *addresses, trusted=()):
    made, place = guard(url, *addresses, trusted=trusted)
    return made.enter(place)


@pytest.mark.parametrize(
    ("address", "found"),
    [
        (PUBLIC, Scope.PUBLIC),
        (OTHER, Scope.PUBLIC),
        ("127.0.0.1", Scope.INNER),
        ("127.255.0.9", Scope.INNER),
        ("::1", Scope.INNER),
        ("10.1.2.3", Scope.INNER),
        ("172.16.0.1", Scope.INNER),
        ("192.168.1.1", Scope.INNER),
        ("100.64.0.1", Scope.INNER),
        ("fd00::1", Scope.INNER),
        ("169.254.169.254", Scope.LINK),
        ("fe80::1", Scope.LINK),
        ("::ffff:127.0.0.1", Scope.INNER),
        ("::ffff:169.254.169.254", Scope.LINK),
        ("::ffff:93.184.215.14", Scope.PUBLIC),
        ("64:ff9b::7f00:1", Scope.INNER),
        ("64:ff9b::5db8:d70e", Scope.PUBLIC),
        ("2002:7f00:1::", Scope.INNER),
        ("0.0.0.0", Scope.NEVER),
        ("::", Scope.NEVER),
        ("224.0.0.1", Scope.NEVER),
        ("ff02::1", Scope.NEVER),
        ("255.255.255.255", Scope.NEVER),
        ("240.0.0.1", Scope.NEVER),
    ],
)
def test_who_is_reached_at_an_address(address, found):
    assert scope(address) is found


@given(st.ip_addresses(v=4))
def test_an_address_within_an_address_is_what_it_is(address):
    assert scope(f"::ffff:{address}") is scope(str(address))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "gopher://host",
        "javascript:alert(1)",
        "//host/x",
        "host/x",
        "",
        "http://",
        "https:///x",
        "http://[::1",
        "http://host:99999/",
        "http://a b/",
        "http://good\\@evil/",
        "http://host/\r\nX: y",
        "http://[fe80::1%25eth0]/",
    ],
)
def test_what_is_no_place(url):
    with pytest.raises(Invalid) as caught:
        Place.of(url)
    assert caught.value.code == "invalid.url"


@pytest.mark.parametrize("url", ["https://user:hunter2@host/x", "https://hunter2@host/x", "http://:hunter2@host"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url):
    with pytest.raises(Invalid) as caught:
        Place.of(url)
    assert "hunter2" not in f"{caught.value} {caught.value.facts}"


@given(st.text(max_size=40))
def test_any_text_is_a_place_or_invalid(text):
    for url in (text, f"http://{text}", f"https://host/{text}"):
        try:
            place = Place.of(url)
        except Invalid:
            continue
        assert Place.of(place.url) == place
        assert place.scheme in {"http", "https"}


def test_a_place_in_its_parts():
    place = Place.of("HTTPS://Host.Example:8443/a%2Fb?q=1#fragment")
    assert (place.scheme, place.host, place.port, place.target) == ("https", "host.example", 8443, "/a%2Fb?q=1")
    assert place.origin == "https://host.example:8443"
    assert Place.of("https://host:443/").origin == "https://host"
    assert Place.of("http://[::1]:80/").origin == "http://[::1]"
    assert Place.of("/c", place).url == "https://host.example:8443/c"
    assert Place.of("d?e", place).url == "https://host.example:8443/d?e"


@pytest.mark.parametrize(
    ("url", "inner"),
    [
        ("http://127.0.0.1", True),
        ("http://[::1]", True),
        ("http://10.0.0.1", True),
        ("http://localhost", True),
        ("http://hub", True),
        ("http://hub.internal", True),
        ("http://nas.local", True),
        ("http://huggingface.co", False),
        (f"http://{PUBLIC}", False),
        ("http://localhost.example.com", False),
        ("http://127.1", False),
    ],
)
def test_what_is_named_as_a_place_in_the_house(url, inner):
    assert Place.of(url).inner is inner


def test_a_public_name_at_public_addresses_is_entered_there():
    door = enter("https://hub.example.com", PUBLIC, OTHER)
    assert door.addresses == (PUBLIC, OTHER)
    assert not door.inner


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "fd00::1", "::1", "169.254.169.254", "0.0.0.0", "ff02::1"]
)
def test_a_public_name_with_an_address_in_the_house_is_not_entered(address):
    for addresses in ((address,), (PUBLIC, address)):
        with pytest.raises(Invalid, match=r"hub\.example\.com.* address \(") as caught:
            enter("https://hub.example.com", *addresses)
        assert caught.value.code == "invalid.address"
        assert caught.value.facts["address"] == address


def test_a_number_that_is_no_address_is_a_public_name():
    with pytest.raises(Invalid, match="loopback"):
        enter("http://127.1", "127.0.0.1")


def test_a_name_that_is_trusted_may_be_in_the_house():
    assert enter("https://mirror.example.com", "10.0.0.1", trusted=["mirror.example.com"]).inner
    with pytest.raises(Invalid):
        enter("https://mirror.example.com", "169.254.169.254", trusted=["mirror.example.com"])


def test_the_house_may_lead_through_the_house():
    made, place = guard("http://hub.internal", "10.0.0.1")
    door = made.enter(place)
    assert door.inner
    assert made.enter(Place.of("http://192.168.0.9/x"), door).inner
    outside = made.enter(Place.of(f"http://{PUBLIC}/x"), door)
    assert not outside.inner
    with pytest.raises(Invalid, match="redirects to http://192"):
        made.enter(Place.of("http://192.168.0.9/x"), outside)


def test_a_name_of_the_house_at_a_public_address_is_public():
    made, place = guard("http://hub", PUBLIC)
    with pytest.raises(Invalid):
        made.enter(Place.of("http://127.0.0.1"), made.enter(place))


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/", "http://10.0.0.1", "http://[::ffff:10.0.0.1]", "http://0.0.0.0"]
)
def test_a_public_place_does_not_lead_into_the_house(target):
    made, place = guard(f"http://{PUBLIC}")
    with pytest.raises(Invalid, match=r"it is not entered from there$"):
        made.enter(Place.of(target), made.enter(place))


def test_a_link_local_address_is_entered_only_when_it_was_typed():
    made, place = guard("http://169.254.1.1")
    assert made.enter(place).addresses == ("169.254.1.1",)
    with pytest.raises(Invalid, match="link-local"):
        made.enter(Place.of("http://169.254.169.254/latest/meta-data"), made.enter(place))
    for url in ("http://127.0.0.1", "http://hub.internal"):
        inner, place = guard(url, "127.0.0.1")
        with pytest.raises(Invalid, match="link-local"):
            inner.enter(Place.of("http://169.254.169.254/"), inner.enter(place))
    with pytest.raises(Invalid, match="link-local"):
        enter("http://hub.internal", "169.254.169.254")


def test_https_does_not_lead_to_http():
    made, place = guard("https://127.0.0.1")
    with pytest.raises(Invalid, match="from https to"):
        made.enter(Place.of("http://127.0.0.1"), made.enter(place))


def test_a_proxy_looks_names_up_and_is_led_nowhere_into_the_house():
    def never(host, port):
        raise AssertionError("the proxy does it")

    place = Place.of("https://hub.example.com")
    made = Guard(place, resolver=never)
    door = made.enter(place, proxied=True)
    assert door.addresses == ()
    assert made.enter(Place.of("https://cdn.example.com"), door, proxied=True).addresses == ()
    for target in ("https://localhost", "https://127.0.0.1", "https://10.1.1.1", "https://metadata.internal"):
        with pytest.raises(Invalid):
            made.enter(Place.of(target), door, proxied=True)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [(socket.gaierror(socket.EAI_AGAIN, "later"), True), (socket.gaierror(socket.EAI_NONAME, "none"), False)],
)
def test_a_name_without_an_address(error, retryable):
    def fails(host, port):
        raise error

    place = Place.of("https://hub.example.com")
    with pytest.raises(Unavailable) as caught:
        Guard(place, resolver=fails).enter(place)
    assert caught.value.facts["retryable"] is retryable
    with pytest.raises(Unavailable):
        enter("https://hub.example.com")


def test_this_machine_knows_itself():
    assert set(resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
