"""What no repetition betters ends at once, with a text that names the remedy."""

import copy
import os
import time

import numpy as np
import pytest
from peer import peer, says
from stub import ok, refusal, scripted
from test_retry import MSGPACK, fast

import densereward

IMAGES = np.zeros((1, 8, 8, 3), np.uint8)
HTML = {"Content-Type": "text/html"}

CALLS = {
    "score": lambda client: client.score(IMAGES, ["a"]),
    "models": lambda client: client.models(),
    "wait_ready": lambda client: client.wait_ready(),
}


def ends(client, method, error, text):
    with client, pytest.raises(error, match=text):
        CALLS[method](client)


@pytest.mark.parametrize("method", CALLS)
def test_https_to_a_plain_server(method, stub):
    server = stub(ok)
    ends(fast(server.url.replace("http:", "https:")), method, densereward.ConfigurationError, f"does not speak TLS: try {server.url}")
    assert not server.requests


@pytest.mark.parametrize("method", CALLS)
def test_plain_http_to_a_tls_server(method, fake_server, tmp_path):
    server = fake_server("-tls", tmp_path / "certificate.pem")
    ends(fast(server.url.replace("https:", "http:")), method, densereward.ConfigurationError, f"does not speak plain HTTP: try {server.url}")


SPEECH = {
    "an alert of TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "does not speak plain HTTP: try https://127"),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP: it answered 'SSH-2.0-OpenSSH_9.2"),
}


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("kind", SPEECH)
def test_a_peer_of_another_protocol(kind, method):
    answer, text = SPEECH[kind]
    with peer(says(answer)) as address:
        ends(fast(f"http://{address}"), method, densereward.ConfigurationError, text)


@pytest.mark.parametrize("method", CALLS)
def test_a_wrong_path_at_a_real_server(method, shared_server):
    paths = {"score": "/v1/score", "models": "/v1/models", "wait_ready": "/readyz"}
    text = f"there is no {paths[method]} at {shared_server.url}/wrong: give the root"
    ends(fast(shared_server.url + "/wrong"), method, densereward.NotFoundError, text)


@pytest.mark.parametrize("status", [404, 405])
def test_a_wrong_path_at_another_server(status, stub):
    server = stub(scripted((status, HTML, b"<h1>Nothing here</h1>")))
    ends(fast(server.url), "score", densereward.ServerError, f"HTTP status {status}: .*there is no /v1/score at {server.url}")
    assert len(server.requests) == 1


def test_a_page_in_place_of_an_answer(stub):
    server = stub(scripted((200, {"Content-Type": "text/html; charset=utf-8"}, b"<h1>Welcome</h1>")))
    ends(fast(server.url), "score", densereward.InvalidResponseError, f"{server.url} answered with text/html.*not to be a DenseReward server")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed(status, stub):
    elsewhere = stub(ok)
    server = stub(scripted((status, {"Location": elsewhere.url + "/v1/score"}, b"")))
    text = f"redirects to {elsewhere.url}/v1/score, which is not followed"
    ends(fast(server.url, token="secret"), "score", densereward.ConfigurationError, text)
    assert not elsewhere.requests


def test_a_missing_token_is_named(fake_server, tmp_path):
    (tmp_path / "tokens").write_text("trainer 0123456789abcdef\n")
    server = fake_server("-tokens", tmp_path / "tokens")
    ends(fast(server.url), "score", densereward.UnauthorizedError, "the client has no token, token= gives it one")
    with fast(server.url, token="wrong-but-secret") as client, pytest.raises(densereward.UnauthorizedError) as caught:
        client.score(IMAGES, ["a"])
    assert "secret" not in str(caught.value) and "token=" not in str(caught.value)


def test_the_proxies_of_the_environment_are_not_used(stub, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with fast(stub(ok).url) as client:
        assert client.score(IMAGES, ["a"]).ok.all()


@pytest.mark.parametrize("around", ["{}\n", "  {}\r\n", "\t{} "])
def test_white_space_around_a_token_is_dropped(around, stub):
    server = stub(ok)
    with fast(server.url, token=around.format("0123456789abcdef")) as client:
        client.score(IMAGES, ["a"])
    assert server.requests[0][0]["Authorization"] == "Bearer 0123456789abcdef"


@pytest.mark.parametrize("token", ["two words-secret", "new\nline-secret", "größe-secret", "nul\0-secret", " \n"])
def test_a_token_that_no_header_carries_is_refused_unseen(token):
    with pytest.raises(ValueError, match="token: ") as caught:
        densereward.Client("http://localhost", token=token)
    assert "secret" not in str(caught.value)


def test_no_text_of_a_client_shows_its_token(stub):
    server = stub(scripted((500, MSGPACK, refusal("internal"))))
    with fast(server.url, token="very-secret") as client:
        texts = [repr(client), str(client), repr(copy.copy(client))]
        with pytest.raises(densereward.InternalError) as caught:
            client.score(IMAGES, ["a"])
    assert not any("secret" in text for text in [*texts, str(caught.value), repr(caught.value)])


ADDRESSES = {
    "http://user:secret@host": "address of host: holds a user name or password; a bearer token goes into token=",
    "http://host/?token=secret": "address of host: a query",
    "http://host:8080/v1/score": "want the server's root without /v1/score: http://host:8080",
    "http://host:8080/readyz/": "want the server's root without /readyz: http://host:8080",
    "http://host:99999": "address .*[Pp]ort",
    "http://ho st": "white space",
    "host:8080": "want http://host:port",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_cannot_work_is_named(address):
    with pytest.raises(ValueError, match=ADDRESSES[address]) as caught:
        densereward.Client(address)
    assert "secret" not in str(caught.value)


def test_a_file_of_authorities_that_is_not_there_is_named(tmp_path):
    nowhere = tmp_path / "nowhere.pem"
    with pytest.raises(FileNotFoundError, match="ca_certs: .*nowhere.pem"):
        densereward.Client("https://host", ca_certs=nowhere)
    with pytest.raises(FileNotFoundError, match="client_cert: .*nowhere.pem"):
        densereward.Client("https://host", client_cert=(str(nowhere), str(nowhere)))


def test_a_file_without_certificates_is_named(tmp_path, certificate):
    (tmp_path / "empty.pem").write_text("nothing\n")
    with pytest.raises(ValueError, match="ca_certs: .*empty.pem holds no certificates"):
        densereward.Client("https://host", ca_certs=str(tmp_path / "empty.pem"))
    with pytest.raises(ValueError, match="client_cert: .*not a certificate and its key"):
        densereward.Client("https://host", client_cert=(certificate, str(tmp_path / "empty.pem")))


def test_a_folder_of_authorities_is_taken(tmp_path):
    densereward.Client("https://host", ca_certs=tmp_path).close()


def test_many_servers_of_which_one_is_hopeless_are_waited_for(stub):
    """A wrong address beside a right one does not keep the right one from being found."""
    server = stub(ok)
    wrong = stub(scripted((404, HTML, b"")))
    wrong.ready = False
    with fast([server.url.replace("http:", "https:"), server.url]) as client:
        client.wait_ready(timeout=20)
    began = time.monotonic()
    with fast(os.fspath(wrong.url)) as client, pytest.raises(densereward.DeadlineExceededError, match="the last look met: .* is not ready"):
        client.wait_ready(timeout=0.5)
    assert time.monotonic() - began < 10


def test_a_look_that_the_end_of_the_call_cut_off_is_not_what_is_told():
    """The server says that it is not ready, then nothing."""
    looks = []

    def script(connection):
        connection.recv(1 << 16)
        looks.append(1)
        if len(looks) == 1:
            connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        else:
            connection.recv(1)  # until the client is gone

    with peer(script) as address, fast(f"http://{address}") as client:
        with pytest.raises(densereward.DeadlineExceededError, match="the last look met: .* is not ready"):
            client.wait_ready(timeout=0.5)
    assert len(looks) > 1
