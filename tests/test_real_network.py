"""Clients of the standard library behind a proxy, smtplib and http.client, against local servers."""

import asyncio
import http.client
import json
import smtplib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.gate import PATIENCE, Gate
from tpool_asyncio import green, hubs, tpool
from tpool_asyncio.green import tpool as green_tpool

HOST = "127.0.0.1"


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    """Run a server in a thread."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def unused_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


# smtplib


class Mailbox(socketserver.ThreadingTCPServer):
    """A minimal SMTP server: keeps what it is sent, and waits at a gate before it accepts a message."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__((HOST, 0), MailHandler)
        self.port: int = self.server_address[1]
        self.messages: list[tuple[str, list[str], str]] = []
        self.gate = Gate()
        self.farewells = 0


class MailHandler(socketserver.StreamRequestHandler):
    server: Mailbox

    def answer(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self) -> None:
        sender = ""
        recipients: list[str] = []
        self.answer("220 mail.test ready")
        for line in self.rfile:
            verb, _, rest = line.decode().strip().partition(" ")
            address = rest.partition("<")[2].partition(">")[0]
            match verb.upper():
                case "EHLO":
                    self.answer("250-mail.test")
                    self.answer("250 SIZE 1000000")
                case "MAIL":
                    sender, recipients = address, []
                    self.answer("250 OK")
                case "RCPT" if address.startswith("nobody"):
                    self.answer(f"550 {address}: no such user")
                case "RCPT":
                    recipients.append(address)
                    self.answer("250 OK")
                case "DATA":
                    self.answer("354 go on")
                    content = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                    self.server.gate()
                    self.server.messages.append((sender, recipients, content))
                    self.answer("250 accepted")
                case "QUIT":
                    self.server.farewells += 1
                    self.answer("221 bye")
                    return
                case "RSET" | "NOOP":
                    self.answer("250 OK")
                case _:
                    self.answer("502 not implemented")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    mailbox = Mailbox()
    with serving(mailbox):
        yield mailbox
        mailbox.gate.open()


def letter(number: int, to: str = "you@test") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "me@test", to, f"letter {number}"
    message.set_content("Hello.\n.\nA line with a dot.\n")
    return message


async def test_a_letter_is_sent_while_the_loop_goes_on(mailbox: Mailbox) -> None:
    async with tpool.Proxy.create(smtplib.SMTP, HOST, mailbox.port, timeout=PATIENCE) as smtp:
        sending = smtp.send_message(letter(1))
        await tpool.execute(mailbox.gate.wait_begun)
        assert not sending.done()
        assert mailbox.messages == []
        mailbox.gate.open()
        assert await sending == {}
        assert await smtp.noop() == (250, b"OK")
        assert smtp.esmtp_features == {"size": "1000000"}
    assert mailbox.farewells == 1, "the end of the context says QUIT"
    ((sender, recipients, content),) = mailbox.messages
    assert (sender, recipients) == ("me@test", ["you@test"])
    assert "Subject: letter 1" in content


async def test_many_letters_at_once(mailbox: Mailbox, pool: tpool.Pool) -> None:
    pool.resize(8)

    async def send(number: int) -> None:
        async with tpool.Proxy.create(smtplib.SMTP, HOST, mailbox.port, pool=pool) as smtp:
            await smtp.sendmail("me@test", [f"you{number}@test"], f"Subject: {number}\r\n\r\nHello.")

    tasks = [asyncio.create_task(send(number)) for number in range(8)]
    await tpool.execute(mailbox.gate.wait_begun, 8)  # all of them are being sent
    mailbox.gate.open()
    await asyncio.gather(*tasks)
    assert sorted(recipients for _, recipients, _ in mailbox.messages) == [[f"you{n}@test"] for n in range(8)]
    assert mailbox.farewells == 8


async def test_a_refused_recipient(mailbox: Mailbox) -> None:
    mailbox.gate.open()
    async with tpool.Proxy.create(smtplib.SMTP, HOST, mailbox.port) as smtp:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as caught:
            await smtp.send_message(letter(1, to="nobody@test"))
        assert caught.value.recipients["nobody@test"][0] == 550
        assert await smtp.sendmail("me@test", ["you@test", "nobody@test"], "Hello.") == {
            "nobody@test": (550, b"nobody@test: no such user")
        }
        with pytest.raises(smtplib.SMTPNotSupportedError):
            await smtp.login("me", "secret")
    assert len(mailbox.messages) == 1


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(ConnectionRefusedError):
        async with tpool.Proxy.create(smtplib.SMTP, HOST, unused_port()):
            raise AssertionError("it was reached")


async def test_a_client_of_green_threads(mailbox: Mailbox) -> None:
    def send(number: int) -> Any:
        smtp: Any = green_tpool.Proxy(smtplib.SMTP())
        with smtp:
            smtp.connect(HOST, mailbox.port)
            return smtp.send_message(letter(number))

    def send_all() -> list[Any]:
        threads = [green.spawn(send, number) for number in range(5)]
        green_tpool.execute(mailbox.gate.wait_begun, 5)
        mailbox.gate.open()
        return [thread.wait() for thread in threads]

    assert await green.run(send_all) == [{}] * 5
    assert len(mailbox.messages) == 5


# http.client


class Site(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 50

    def __init__(self) -> None:
        super().__init__((HOST, 0), SiteHandler)
        self.port: int = self.server_address[1]
        self.gate = Gate()
        self.connections = 0


class SiteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        match self.path:
            case "/gate":
                self.server.gate()
                self.answer(b"opened")
            case "/stream":
                self.stream()
            case "/garbage":
                self.wfile.write(b"this is not HTTP\r\n\r\n")
                self.close_connection = True
            case "/short":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"short")
                self.close_connection = True
            case _:
                self.answer(self.path.encode())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(json.dumps({"size": len(content)}).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        """Send a line, and then the others once the gate is open."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(100):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(b"line %02d\n" % number), b"line %02d\n" % number))
            if number == 0:
                self.server.gate()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    with serving(site):
        yield site
        site.gate.open()


def connection_to(site: Site) -> Any:
    make = partial(http.client.HTTPConnection, HOST, site.port, timeout=PATIENCE)
    return tpool.Proxy.create(make, autowrap=http.client.HTTPResponse)


async def get(connection: Any, path: str) -> Any:
    await connection.request("GET", path)
    response = await connection.getresponse()
    async with response:
        assert type(response) is tpool.Proxy
        assert response.status == http.HTTPStatus.OK
        return await response.read()


async def test_a_connection_is_used_again(site: Site) -> None:
    connection = await connection_to(site)
    try:
        assert await get(connection, "/a") == b"/a"
        assert await get(connection, "/b") == b"/b"
        await connection.request("POST", "/", body=b"x" * 1_000_000)
        response = await connection.getresponse()
        assert await tpool.execute(json.load, response._obj) == {"size": 1_000_000}
        assert response.headers["Content-Length"] == "17"
        assert site.connections == 1
    finally:
        await connection.close()


async def test_many_requests_at_once(site: Site) -> None:
    async def visit() -> Any:
        connection = await connection_to(site)
        try:
            return await get(connection, "/gate")
        finally:
            await connection.close()

    tasks = [asyncio.create_task(visit()) for _ in range(10)]
    await tpool.execute(site.gate.wait_begun, 10)
    site.gate.open()
    assert await asyncio.gather(*tasks) == [b"opened"] * 10


async def test_lines_of_an_answer_are_delivered_at_once(site: Site) -> None:
    connection = await connection_to(site)
    try:
        await connection.request("GET", "/stream")
        lines: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            async for line in await connection.getresponse():
                if not lines:
                    site.gate.open()  # without which the server sends no other
                lines.append(line)
        assert lines == [b"line %02d\n" % number for number in range(100)]
    finally:
        await connection.close()


async def test_what_goes_wrong_comes_as_it_is(site: Site) -> None:
    connection = await connection_to(site)
    try:
        with pytest.raises(http.client.BadStatusLine, match="this is not HTTP"):
            await get(connection, "/garbage")
        await connection.close()
        with pytest.raises(http.client.IncompleteRead) as caught:
            await get(connection, "/short")
        assert caught.value.partial == b"short"
        await connection.close()
        with pytest.raises(http.client.CannotSendRequest):
            await connection.request("GET", "/a")
            await connection.request("GET", "/b")
    finally:
        await connection.close()
    refused = tpool.Proxy(http.client.HTTPConnection(HOST, unused_port()))
    with pytest.raises(ConnectionRefusedError):
        await refused.request("GET", "/")


def legacy(port: int) -> list[object]:
    """What synchronous code does with a connection."""
    connection = green_tpool.Proxy(http.client.HTTPConnection(HOST, port), autowrap=(http.client.HTTPResponse,))
    connection.request("GET", "/page")
    with connection.getresponse() as response:
        got = [response.status, response.read()]
    connection.request("GET", "/stream")
    with connection.getresponse() as response:
        got.append(sum(1 for _ in response))
    connection.close()
    return got


async def test_synchronous_code_in_green_threads(site: Site) -> None:
    site.gate.open()
    assert await green.run(legacy, site.port) == [200, b"/page", 100]


def test_synchronous_code_in_a_script(script: hubs.Hub, site: Site) -> None:
    site.gate.open()
    threads = [green.spawn(legacy, site.port) for _ in range(5)]
    assert [thread.wait() for thread in threads] == [[200, b"/page", 100]] * 5
