"""A teacher behind an endpoint: what it is asked, what it may answer, and how it fails."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training.understanding.data.endpoint import EndpointConfig, EndpointTeacher, split_thought
from training.understanding.data.exercise import Exercise, exercise
from training.world.dialogues.talk import Picture
from training.world.scenes.scene import Background, Scene, SceneObject
from training.world.tasks.answers import Answer
from wanimage.errors import DeadlineExceeded, InvalidInput, NotFound, Unauthenticated, Unavailable, WanError

SUM = exercise("sum", "What is 2 + 3?", "5.", ("2 + 3 = 5.",), "5")
SEEN = Picture(Scene((SceneObject("circle", "red"),), Background.plain("blue")))
LOOK = Exercise("color", "What colour is the circle?", Answer("red", "Red."), (SEEN,))


class Canned:
    """A server of the protocol that answers what it is told to, in order; the last for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[dict] = []
        self.teachers: list[EndpointTeacher] = []
        self.hold = threading.Event()
        self.hold.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def says(self, *contents: str | None, **more: object) -> None:
        for content in contents:
            message = {"role": "assistant", "content": content, **more}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            self.answers.append((200, json.dumps(body).encode()))

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        canned = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                canned.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                canned.hold.wait(10)
                status, body = canned.answers[min(len(canned.asked), len(canned.answers)) - 1]
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def canned() -> Iterator[Canned]:
    server = Canned()
    yield server
    for each in server.teachers:
        each.close()
    server.close()


def teacher(canned: Canned, **more: object) -> EndpointTeacher:
    config = {"url": canned.url, "model": "m", "retries": 0, **more}
    canned.teachers.append(EndpointTeacher(EndpointConfig(**config)))  # type: ignore[arg-type]
    return canned.teachers[-1]


def test_pictures_go_out_as_data_urls_before_the_question(canned: Canned) -> None:
    canned.says("Red.")
    assert teacher(canned).answer(LOOK) == "Red."
    picture, text = canned.asked[0]["messages"][1]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert text == {"type": "text", "text": LOOK.ask}


def test_what_was_asked_once_is_read_from_disk(canned: Canned, tmp_path: Path) -> None:
    canned.says("5.", "6.")
    asked = [teacher(canned, cache=tmp_path).answer(SUM) for _ in range(3)]
    assert (asked, len(canned.asked)) == (["5."] * 3, 1)
    assert teacher(canned, cache=tmp_path, temperature=0.5).answer(SUM) == "6."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<think>2 + 3 = 5.</think>5.", ("2 + 3 = 5.", "5.")),
        ("2 + 3 = 5.</think>\n5.", ("2 + 3 = 5.", "5.")),
        ("5.", ("", "5.")),
        ("<think>it goes on", ("it goes on", "")),
        ("", ("", "")),
    ],
)
def test_reasoning_is_cut_from_the_answer(text: str, wanted: tuple[str, str]) -> None:
    assert split_thought(text) == wanted


def test_reasoning_in_a_field_of_its_own_is_read_too(canned: Canned) -> None:
    canned.says("5.", reasoning_content="2 + 3 = 5.")
    assert teacher(canned).reason(SUM) == ("2 + 3 = 5.", "5.")


def test_an_answer_without_content_is_an_empty_answer(canned: Canned) -> None:
    canned.says(None)
    assert teacher(canned).answer(SUM) == ""


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b'{"error": {"message": "bad key"}}', Unauthenticated),
        (404, b'{"error": {"message": "no such model"}}', NotFound),
        (400, b'{"error": {"message": "too long"}}', InvalidInput),
        (429, b"{}", Unavailable),
        (500, b"oops", Unavailable),
        (200, b"not json", Unavailable),
        (200, b'{"choices": []}', Unavailable),
        (200, b'{"choices": null}', Unavailable),
        (200, b"[]", Unavailable),
        (200, b"null", Unavailable),
    ],
)
def test_a_server_that_fails_is_a_typed_error(
    canned: Canned, status: int, body: bytes, error: type[WanError]
) -> None:
    canned.answers.append((status, body))
    with pytest.raises(error):
        teacher(canned).answer(SUM)


def test_a_server_that_was_busy_is_asked_again(canned: Canned) -> None:
    canned.answers.append((500, b"{}"))
    canned.says("5.")
    assert teacher(canned, retries=1).answer(SUM) == "5."


def test_a_server_that_never_answers_is_given_up(canned: Canned) -> None:
    canned.says("5.")
    canned.hold.clear()
    with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        teacher(canned, seconds=0.2).answer(SUM)


def test_a_server_that_is_not_there_is_unavailable(canned: Canned) -> None:
    lost = teacher(canned)
    canned.close()
    with pytest.raises(Unavailable, match="teacher at"):
        lost.answer(SUM)
