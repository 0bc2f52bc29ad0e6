"""Both ways to authenticate, without a network: ``next`` gives a request, and ``send`` takes its response."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas_invites.atlas.authenticated import AuthenticatedClient
from atlas_invites.atlas.bearer import BearerAuth
from atlas_invites.atlas.digest import Challenge, DigestAuth, challenge_of
from atlas_invites.atlas.errors import AtlasFailure, AtlasUnavailable, CredentialsRejected, RateLimited
from atlas_invites.atlas.responses import failure_of
from atlas_invites.invitation.credentials import ApiKey, ServiceAccount
from atlas_invites.invitation.model import Operation

if TYPE_CHECKING:
    from collections.abc import Generator

    from atlas_invites.invitation.credentials import Credentials

URL = "http://atlas.test/api/atlas/v2/groups/1/invites?username=a@x.de"
KEY = ApiKey("public", "private")
ACCOUNT = ServiceAccount("id", "secret")
TOKEN_URL = httpx.URL("http://atlas.test/api/oauth/token")

Flow: TypeAlias = "Generator[httpx.Request, httpx.Response, None]"


def request(method: str = "GET") -> httpx.Request:
    extensions = {"operation": Operation.LIST_INVITES, "of": "1", "envelope": True, "timeout": {"read": 20.0}}
    return httpx.Request(method, URL, headers={"User-Agent": "atlas-invites/1"}, extensions=extensions)


def response(status: int = 200, json: object = None, challenge: str | None = None) -> httpx.Response:
    headers = {} if challenge is None else {"WWW-Authenticate": challenge}
    failure = failure_of(Operation.TOKEN, status, json, headers)
    return httpx.Response(status, headers=headers, extensions={"json": json, "failure": failure})


def digest(nonce: str = "n1", *, stale: bool = False, algorithm: str = "MD5") -> str:
    return f'Digest realm="r", nonce="{nonce}", algorithm={algorithm}, qop="auth", stale={str(stale).lower()}'


def ended(flow: Flow, answer: httpx.Response) -> bool:
    """Send the response, and return whether the flow ends with it."""
    try:
        flow.send(answer)
    except StopIteration:
        return True
    return False


def fields(sent: httpx.Request) -> dict[str, str]:
    """Return the fields of a digest."""
    scheme, _, rest = sent.headers["Authorization"].partition(" ")
    assert scheme == "Digest"
    return {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]*))', rest)}


# -- digest


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_the_rfc(monkeypatch: pytest.MonkeyPatch, algorithm: str, expected: str) -> None:
    """RFC 7616, section 3.9.1."""
    monkeypatch.setattr("secrets.token_hex", lambda _: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    flow = DigestAuth(ApiKey("Mufasa", "Circle of Life")).auth_flow(
        httpx.Request("GET", "http://www.example.org/dir/index.html")
    )
    next(flow)
    challenge = (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm},'
        ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    said = fields(flow.send(response(401, challenge=challenge)))
    assert said == {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "algorithm": algorithm,
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
        "response": expected,
        "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
    }


def verified(sent: httpx.Request, key: ApiKey = KEY) -> bool:
    """Check a digest as a server does: from the text of the RFC, without any code of the client."""
    said = fields(sent)
    hash_ = hashlib.sha256 if said["algorithm"].startswith("SHA-256") else hashlib.md5

    def h(text: str) -> str:
        return hash_(text.encode()).hexdigest()

    secret = h(f"{key.public_key}:{said['realm']}:{key.private_key}")
    if said["algorithm"].endswith("-sess"):
        secret = h(f"{secret}:{said['nonce']}:{said['cnonce']}")
    resource = h(f"{sent.method}:{said['uri']}")
    if "qop" not in said:
        return said["response"] == h(f"{secret}:{said['nonce']}:{resource}")
    signed = f"{secret}:{said['nonce']}:{said['nc']}:{said['cnonce']}:{said['qop']}:{resource}"
    return said["response"] == h(signed) and said["uri"] == sent.url.raw_path.decode()


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_every_algorithm_signs_method_and_target(algorithm: str, method: str) -> None:
    """The signature covers method and target as they are sent: MD5 and SHA-256, each also with a session."""
    auth = DigestAuth(KEY)
    flow = auth.auth_flow(request(method))
    assert "Authorization" not in next(flow).headers
    sent = flow.send(response(401, challenge=digest(algorithm=algorithm)))
    assert verified(sent)
    again = next(auth.auth_flow(request(method)))
    assert verified(again)
    assert fields(again)["nc"] == "00000002"


def test_a_server_without_qop_gets_the_older_form() -> None:
    """RFC 2069: no count and no client nonce."""
    flow = DigestAuth(KEY).auth_flow(request())
    next(flow)
    sent = flow.send(response(401, challenge='Digest realm="r", nonce="n"'))
    assert verified(sent)
    assert not fields(sent).keys() & {"nc", "cnonce", "qop", "opaque"}


def test_a_challenge_is_reused() -> None:
    """Each call after the first costs one round trip, and the count rises."""
    auth = DigestAuth(KEY)
    first = auth.auth_flow(request())
    next(first)
    counts = [fields(first.send(response(401, challenge=digest())))["nc"]]
    assert ended(first, response())
    for _ in range(20):
        flow = auth.auth_flow(request())
        counts.append(fields(next(flow))["nc"])
        assert ended(flow, response())
    assert counts == [f"{number:08x}" for number in range(1, 22)]


def test_a_stale_nonce_is_replaced_once_for_all() -> None:
    """Fifty calls are out when their nonce ends.

    All are signed again with one new nonce, and no count is used twice.
    """
    auth = DigestAuth(KEY)
    first = auth.auth_flow(request())
    next(first)
    first.send(response(401, challenge=digest("old")))
    assert ended(first, response())
    flows = [auth.auth_flow(request()) for _ in range(50)]
    for flow in flows:
        assert fields(next(flow))["nonce"] == "old"
    signed = [fields(flow.send(response(401, challenge=digest("new", stale=True)))) for flow in flows]
    assert {each["nonce"] for each in signed} == {"new"}
    assert len({each["nc"] for each in signed}) == 50
    assert all(ended(flow, response()) for flow in flows)


def test_a_nonce_that_ended_without_stale_is_replaced_too() -> None:
    """A server that does not say ``stale`` gets one more try with its new nonce."""
    auth = DigestAuth(KEY)
    flow = auth.auth_flow(request())
    next(flow)
    flow.send(response(401, challenge=digest("one")))
    assert ended(flow, response())
    flow = auth.auth_flow(request())
    assert fields(next(flow))["nonce"] == "one"
    assert fields(flow.send(response(401, challenge=digest("two"))))["nonce"] == "two"
    assert ended(flow, response())


def test_a_401_with_a_fresh_challenge_means_a_wrong_key() -> None:
    """A 401 with a new challenge after a fresh signature ends the flow: no endless retries."""
    flow = DigestAuth(KEY).auth_flow(request())
    next(flow)
    flow.send(response(401, challenge=digest("one")))
    refused = response(401, challenge=digest("two"))
    assert ended(flow, refused)
    assert refused.extensions["unknown_key"] is True


def test_a_server_that_always_says_stale_ends_too() -> None:
    """There are at most four tries, and the key is not considered wrong."""
    flow = DigestAuth(KEY).auth_flow(request())
    next(flow)
    for number in range(3):
        flow.send(response(401, challenge=digest(str(number), stale=True)))
    with pytest.raises(AtlasUnavailable) as failed:
        flow.send(response(401, challenge=digest("last", stale=True)))
    assert not failed.value.unanswered


@pytest.mark.parametrize("challenge", [None, "Basic realm=x", 'Digest realm="r"', "Digest", ""])
def test_without_a_usable_challenge_the_second_401_is_final(challenge: str | None) -> None:
    """The client invents no digest, and does not conclude that the key is wrong."""
    flow = DigestAuth(KEY).auth_flow(request())
    next(flow)
    assert "Authorization" not in flow.send(response(401, challenge=challenge)).headers
    refused = response(401, challenge=challenge)
    assert ended(flow, refused)
    assert "unknown_key" not in refused.extensions


def signing() -> DigestAuth:
    """Return an authentication that has a challenge."""
    auth = DigestAuth(KEY)
    flow = auth.auth_flow(request())
    next(flow)
    flow.send(response(401, challenge=digest("n")))
    assert ended(flow, response())
    return auth


@pytest.mark.parametrize("status", [200, 401])
def test_a_401_without_a_challenge_is_signed_once_more(status: int) -> None:
    """The 401 is about the project, not the key: a second 401 is final.

    Challenge and nonce stay the same, the count rises.
    """
    flow = signing().auth_flow(request("POST"))
    assert fields(next(flow))["nc"] == "00000002"
    again = fields(flow.send(response(401)))
    assert (again["nonce"], again["nc"]) == ("n", "00000003")
    refused = response(status)
    assert ended(flow, refused)
    assert "unknown_key" not in refused.extensions


def test_a_probe_is_signed_once() -> None:
    """A project that is known to be rejected is probed with one request."""
    asked = request()
    asked.extensions["is_probe"] = True
    flow = signing().auth_flow(asked)
    next(flow)
    assert ended(flow, response(401))


def test_a_stale_nonce_and_then_a_401_of_the_project_do_not_reject_the_key() -> None:
    """Each kind of 401 has its own second try."""
    flow = signing().auth_flow(request())
    next(flow)
    flow.send(response(401, challenge=digest("new", stale=True)))
    flow.send(response(401))
    refused = response(401)
    assert ended(flow, refused)
    assert "unknown_key" not in refused.extensions


@pytest.mark.parametrize(
    ("headers", "algorithm"),
    [
        (['Digest realm="a, digest", nonce="1", qop="auth"'], "MD5"),
        (['Digest nonce="1", algorithm=MD5, qop="auth", Digest nonce="2", algorithm=SHA-256, qop="auth"'], "SHA-256"),
        (['Digest nonce="1", algorithm=MD5', 'Digest nonce="2", algorithm="SHA-256-sess", qop=auth'], "SHA-256-sess"),
        (['digest nonce="1", algorithm=sha-256, qop="auth-int,auth"'], "sha-256"),
        (['Digest nonce="1", algorithm=SHA-512-256, qop="auth"'], None),
        (['Digest nonce="1", qop="auth-int"'], None),
        (['Bearer realm="x"', 'Basic realm="digest nonce=1"'], None),
    ],
)
def test_the_strongest_challenge_is_taken(headers: list[str], algorithm: str | None) -> None:
    """Of several challenges, the strongest one that the client knows is used; if it knows none, none is used."""
    found = challenge_of(headers)
    assert (found.algorithm if found else None) == algorithm


def test_quotes_are_escaped_both_ways() -> None:
    """A realm that contains a quotation mark is hashed unescaped and sent escaped."""
    found = challenge_of([r'Digest realm="a \"b\" \\c", nonce="n", qop="auth"'])
    assert found is not None
    assert found.realm == r'a "b" \c'
    flow = DigestAuth(KEY).auth_flow(request())
    next(flow)
    sent = flow.send(response(401, challenge=r'Digest realm="a \"b\" \\c", nonce="n", qop="auth"'))
    assert r'realm="a \"b\" \\c"' in sent.headers["Authorization"]


@given(st.text(max_size=80))
def test_any_header_can_be_read(text: str) -> None:
    """Any WWW-Authenticate header is read as a challenge or as none."""
    found = challenge_of([text, f"Digest {text}"])
    assert found is None or isinstance(found, Challenge)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["ok", "stale", "new", "same"])), max_size=40))
def test_no_count_repeats_for_a_nonce(steps: list[tuple[int, str]]) -> None:
    """In whatever order calls go out and come back, each pair of nonce and count is used once."""
    auth, used, nonces = DigestAuth(KEY), [], iter(range(1000))
    nonce = next(nonces)
    flows: dict[int, Flow] = {}

    def note(sent: httpx.Request) -> None:
        if "Authorization" in sent.headers:
            used.append((fields(sent)["nonce"], fields(sent)["nc"]))

    for slot, what in steps:
        if slot not in flows:
            flows[slot] = auth.auth_flow(request())
            note(next(flows[slot]))
            continue
        nonce = next(nonces) if what == "new" else nonce
        answer = response() if what == "ok" else response(401, challenge=digest(f"{nonce}", stale=what == "stale"))
        try:
            note(flows[slot].send(answer))
        except (StopIteration, AtlasUnavailable):
            del flows[slot]
    assert len(used) == len(set(used))


# -- bearer


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bearer(clock: Clock) -> BearerAuth:
    return BearerAuth(ACCOUNT, TOKEN_URL, clock)


def token(value: str = "t1", life: object = 3600) -> httpx.Response:
    return response(200, {"access_token": value, "token_type": "Bearer", "expires_in": life})


def run(auth: BearerAuth, *answers: httpx.Response) -> list[httpx.Request]:
    """Run a flow with the given responses, and return copies of the requests as they were sent."""
    flow, sent = auth.auth_flow(request()), []
    outgoing = next(flow)
    for answer in answers:
        sent.append(
            httpx.Request(outgoing.method, outgoing.url, headers=outgoing.headers, extensions=outgoing.extensions)
        )
        try:
            outgoing = flow.send(answer)
        except StopIteration:
            break
    return sent


def test_the_token_request_is_as_documented(bearer: BearerAuth) -> None:
    """POST /api/oauth/token at the root of the host, with Basic, a form, no envelope, and the request's time-outs."""
    flow = bearer.auth_flow(request())
    asked = next(flow)
    assert (asked.method, str(asked.url)) == ("POST", "http://atlas.test/api/oauth/token")
    assert asked.headers["Authorization"] == f"Basic {base64.b64encode(b'id:secret').decode()}"
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.headers["User-Agent"] == "atlas-invites/1"
    assert asked.content == b"grant_type=client_credentials"
    assert asked.extensions["operation"] is Operation.TOKEN
    assert asked.extensions["envelope"] is False
    assert asked.extensions["timeout"] == {"read": 20.0}


def test_one_token_serves_all(bearer: BearerAuth, clock: Clock) -> None:
    """One token is fetched, and the next only when 80 % of its lifetime is over."""
    assert [each.url.path[-5:] for each in run(bearer, token("t1", 100), response())] == ["token", "vites"]
    clock.time += 79
    [sent] = run(bearer, response())
    assert sent.headers["Authorization"] == "Bearer t1"
    clock.time += 1
    renewal, sent = run(bearer, token("t2", 100), response())
    assert renewal.url == TOKEN_URL
    assert sent.headers["Authorization"] == "Bearer t2"


def test_while_one_renews_the_others_go_on(bearer: BearerAuth, clock: Clock) -> None:
    """The old token still works: other calls do not wait for the new one, and do not fetch one themselves."""
    run(bearer, token("t1", 100), response())
    clock.time += 90
    renewing = bearer.auth_flow(request())
    assert next(renewing).url == TOKEN_URL
    [other] = run(bearer, response())
    assert other.headers["Authorization"] == "Bearer t1"
    assert renewing.send(token("t2", 100)).headers["Authorization"] == "Bearer t2"


def test_a_failed_renewal_keeps_the_old_token(bearer: BearerAuth, clock: Clock) -> None:
    """The rate limit of the token endpoint does not matter while the token lasts; the renewal is tried again later."""
    run(bearer, token("t1", 1000), response())
    clock.time += 900
    _, sent = run(bearer, response(429), response())
    assert sent.headers["Authorization"] == "Bearer t1"
    [sent] = run(bearer, response())
    assert sent.headers["Authorization"] == "Bearer t1"
    clock.time += 30
    assert run(bearer, token("t2"), response())[0].url == TOKEN_URL


def test_a_token_that_has_ended_is_not_used(bearer: BearerAuth, clock: Clock) -> None:
    """If there is no new token, no call is made."""
    run(bearer, token("t1", 100), response())
    clock.time += 100
    assert not bearer.ready
    with pytest.raises(AtlasUnavailable):
        run(bearer, response(500))


def refused(auth: BearerAuth, asked: httpx.Request) -> httpx.Response:
    """Respond to a request with 401 although its token is current, and return the response."""
    flow = auth.auth_flow(asked)
    assert next(flow) is asked
    answer = response(401)
    assert ended(flow, answer)
    return answer


def test_a_401_replaces_a_shared_token_once(bearer: BearerAuth) -> None:
    """Fifty calls get a 401 with the same token: one of them fetches the next token, and the others use it too."""
    run(bearer, token("t1"), response())
    calls = [request() for _ in range(50)]
    assert all(refused(bearer, call).extensions["try_again"] for call in calls)
    assert bearer.ready
    assert not any(bearer.ready_for(call) for call in calls)
    flow = bearer.auth_flow(calls[0])
    assert next(flow).url == TOKEN_URL
    assert bearer.fetching
    assert flow.send(token("t2")).headers["Authorization"] == "Bearer t2"
    for call in calls[1:]:
        assert bearer.ready_for(call)
        assert next(bearer.auth_flow(call)).headers["Authorization"] == "Bearer t2"


def test_while_a_token_is_replaced_the_others_go_on(bearer: BearerAuth) -> None:
    """The 401 may be about the project: calls that have not got a 401 use the current token."""
    run(bearer, token("t1"), response())
    call = request()
    refused(bearer, call)
    replacing = bearer.auth_flow(call)
    assert next(replacing).url == TOKEN_URL
    assert bearer.ready_for(request())
    [other] = run(bearer, response())
    assert other.headers["Authorization"] == "Bearer t1"


def test_a_401_with_a_token_fetched_for_the_call_replaces_nothing(bearer: BearerAuth) -> None:
    """A token that was fetched for this very call will not get better: the second try uses it too."""
    call = request()
    flow = bearer.auth_flow(call)
    next(flow)
    flow.send(token("t1"))
    answer = response(401)
    assert ended(flow, answer)
    assert answer.extensions["try_again"] is True
    assert bearer.ready_for(call)
    assert next(bearer.auth_flow(call)) is call


def test_401s_cause_at_most_two_tokens_a_minute(bearer: BearerAuth, clock: Clock) -> None:
    """After two tokens, a 401 is about the project; a minute later another token may be fetched."""
    asked = []
    run(bearer, token("t0"), response())
    for number in range(1, 200):
        clock.time += 5
        call = request()
        refused(bearer, call)
        sent = run_again(bearer, call, token(f"t{number}"))
        if sent.url == TOKEN_URL:
            asked.append(clock.time)
        assert bearer.ready
    assert asked[0] == 1005
    assert all(later - earlier >= 60 for earlier, later in zip(asked, asked[2:], strict=False))
    assert len(asked) > 30


def run_again(auth: BearerAuth, call: httpx.Request, answer: httpx.Response) -> httpx.Request:
    """Send a call again, and return the first request."""
    flow = auth.auth_flow(call)
    first = next(flow)
    if first is not call:
        flow.send(answer)
    assert ended(flow, response(401))
    return first


def test_a_refused_token_that_cannot_be_replaced_is_not_used_again(bearer: BearerAuth) -> None:
    """Atlas may have forgotten the token: if its replacement fails, the call fails with that error."""
    run(bearer, token("t1"), response())
    for _ in range(10):
        call = request()
        refused(bearer, call)
        flow = bearer.auth_flow(call)
        assert next(flow).url == TOKEN_URL
        with pytest.raises(AtlasUnavailable) as failed:
            flow.send(response(503))
        assert failed.value.operation is Operation.TOKEN
        assert bearer.ready_for(request())


def test_a_probe_takes_no_old_token(bearer: BearerAuth, clock: Clock) -> None:
    """A rejected project is probed with a new token every few minutes, or with the old token if there is no new one."""
    run(bearer, token("t1"), response())
    probe = request()
    probe.extensions["is_probe"] = True
    clock.time += 239
    assert next(bearer.auth_flow(probe)) is probe
    clock.time += 1
    assert next(bearer.auth_flow(request())).url != TOKEN_URL
    flow = bearer.auth_flow(probe)
    assert next(flow).url == TOKEN_URL
    assert flow.send(response(503)).headers["Authorization"] == "Bearer t1"
    assert next(bearer.auth_flow(probe)) is probe


@pytest.mark.parametrize(
    ("status", "json", "kind"),
    [
        (400, {"error": "invalid_client"}, CredentialsRejected),
        (401, {"error": "invalid_client", "error_description": "x"}, CredentialsRejected),
        (403, None, CredentialsRejected),
        (429, None, RateLimited),
        (500, None, AtlasUnavailable),
        (404, None, AtlasUnavailable),
        (200, None, AtlasUnavailable),
        (200, [], AtlasUnavailable),
        (200, {}, AtlasUnavailable),
        (200, {"access_token": 5}, AtlasUnavailable),
        (200, {"access_token": ""}, AtlasUnavailable),
        (200, {"access_token": "a\r\nX-Evil: 1"}, AtlasUnavailable),
        (200, {"access_token": "a", "expires_in": 0}, AtlasUnavailable),
        (200, {"access_token": "a", "expires_in": "soon"}, AtlasUnavailable),
    ],
)
def test_no_token_no_call(bearer: BearerAuth, status: int, json: object, kind: type[AtlasFailure]) -> None:
    """If the token endpoint returns anything but a token, the operation Token fails, and nothing is sent."""
    flow = bearer.auth_flow(request("POST"))
    next(flow)
    with pytest.raises(kind) as failed:
        flow.send(response(status, json))
    assert failed.value.operation is Operation.TOKEN
    assert not failed.value.unanswered
    assert failed.value.error is None


@pytest.mark.parametrize("life", [{}, {"expires_in": 10**400}, {"expires_in": math.inf}])
def test_a_token_without_a_lifetime_lives_an_hour(bearer: BearerAuth, clock: Clock, life: dict[str, float]) -> None:
    """Atlas documents one hour; the same holds for a lifetime that is out of range (1e400 in JSON is infinity)."""
    run(bearer, response(200, {"access_token": "t1"} | life), response())
    clock.time += 3599
    assert bearer.ready
    clock.time += 1
    assert not bearer.ready


def test_the_kind_of_credentials_selects_the_authentication() -> None:
    """An API key signs requests; a service account gets a token from the root of the same host."""
    codec: Any = None

    def auth_of(credentials: Credentials) -> Any:  # noqa: ANN401 - of either kind
        http = httpx.AsyncClient(base_url="https://atlas.test:8/")
        return vars(AuthenticatedClient(credentials, http, codec, time.monotonic))["_auth"]

    assert isinstance(auth_of(KEY), DigestAuth)
    assert str(next(auth_of(ACCOUNT).auth_flow(request())).url) == "https://atlas.test:8/api/oauth/token"


def test_nothing_shows_a_secret(bearer: BearerAuth) -> None:
    """Neither repr nor str of an object that holds a secret prints the secret."""
    run(bearer, token("t1-canary"), response())
    auth = DigestAuth(ApiKey("public-canary", "private-canary"))
    flow = auth.auth_flow(request())
    next(flow)
    flow.send(response(401, challenge=digest()))
    for thing in (bearer, auth, vars(bearer).values(), vars(auth)["_key"], vars(bearer)["_token"]):
        assert "canary" not in repr(thing)
