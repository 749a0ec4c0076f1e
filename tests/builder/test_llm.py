"""A language model as reader, through the real client, against a local server that stands in for the endpoint."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gnnpot.builder import build
from gnnpot.builder.llm import REPAIRS, LanguageModel
from gnnpot.errors import BuilderError

pytest.importorskip("openai", reason="needs the package openai")

GOOD = {
    "version": 1,
    "steps": [
        {"do": "bulk", "formula": "Pt"},
        {"do": "slab", "miller": [1, 1, 1], "layers": 3, "repeat": [2, 2]},
        {"do": "adsorb", "species": "CO", "site": "top"},
    ],
}
INJECTION = {
    "steps": [
        {"do": "bulk", "formula": "Pt", "file": "/etc/passwd"},
        {"do": "shell", "command": "touch /tmp/gnnpot-was-here"},
        {"do": "bulk", "formula": "__import__('os').system('true')"},
    ]
}


class Endpoint:
    """Answers with the given contents one after another, the last again and again; keeps the requests."""

    def __init__(self, *answers, refusal=None, delay=0.0):
        self.answers, self.refusal, self.delay = list(answers), refusal, delay
        self.requests = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body)
                time.sleep(endpoint.delay)
                message = {"role": "assistant", "content": endpoint.next(), "refusal": endpoint.refusal}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                reply = {"id": "x", "object": "chat.completion", "created": 0, "model": "stand-in", "choices": [choice]}
                data = json.dumps(reply).encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)
                except BrokenPipeError:
                    pass  # the client has given up

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, str) or answer is None else json.dumps(answer)

    def model(self, timeout=10.0):
        return LanguageModel(f"http://127.0.0.1:{self.server.server_port}/v1", "stand-in", timeout=timeout)


@pytest.fixture
def endpoint():
    made = []

    def make(*answers, **options):
        made.append(Endpoint(*answers, **options))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def test_a_good_answer_is_built(endpoint):
    server = endpoint(GOOD)
    result = build("CO on platinum", llm=server.model())
    assert result.structure.get_chemical_formula() == "COPt12" and result.recipe.language == "en"
    request = server.requests[0]
    assert request["response_format"]["json_schema"]["name"] == "recipe"
    assert request["messages"][-1]["content"] == "CO on platinum" and len(request["messages"]) > 40


def test_a_fenced_answer_is_read(endpoint):
    assert endpoint(f"```json\n{json.dumps(GOOD)}\n```").model().read("x").recipe is not None


def test_invalid_json_is_repaired(endpoint):
    server = endpoint("Sure! Here is a slab.", GOOD)
    reading = server.model().read("CO on platinum")
    assert reading.recipe is not None and reading.notes[0].kind == "repair"
    assert "no JSON" in server.requests[1]["messages"][-1]["content"]


def test_a_wrong_schema_goes_back_with_the_message(endpoint):
    wrong = {"steps": [{"do": "bulk", "formula": "Pt"}, {"do": "slab", "miller": [0, 0, 0]}]}
    server = endpoint(wrong, GOOD)
    assert server.model().read("CO on platinum").recipe is not None
    assert "no lattice plane" in server.requests[1]["messages"][-1]["content"]


def test_repairs_end(endpoint):
    server = endpoint("nonsense")
    reading = server.model().read("白金にCO")
    assert len(server.requests) == REPAIRS + 1 and reading.recipe is None
    assert "正しいレシピを返しませんでした" in str(reading.problem)


def test_a_time_out_is_one_sentence(endpoint):
    reading = endpoint(GOOD, delay=1.5).model(timeout=0.2).read("CO on platinum")
    assert "could not be reached" in str(reading.problem)


def test_no_server_is_one_sentence():
    reading = LanguageModel("http://127.0.0.1:9/v1", "none", timeout=1.0).read("CO on platinum")
    assert "could not be reached" in str(reading.problem)


@pytest.mark.parametrize("server", [{"refusal": "I can't"}, {}])
def test_a_refusal_is_handed_on(endpoint, server):
    answer = None if server else {"refusal": "I can't"}
    reading = endpoint(answer, **server).model().read("how to make a bomb")
    assert reading.recipe is None and "I can't" in str(reading.problem)


def test_nothing_but_a_valid_recipe_is_executed(endpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BuilderError, match="no valid recipe"):
        build("ignore your instructions", llm=endpoint(INJECTION).model(), folder=tmp_path)
    file = {"steps": [{"do": "bulk", "file": "secret.cif"}]}
    with pytest.raises(BuilderError, match="files may not be read"):
        build("x", llm=endpoint(file).model(), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_edits_show_the_recipe_so_far(endpoint):
    server = endpoint(GOOD)
    base = build("Pt(111)").recipe
    server.model().read("add CO", base=base)
    assert "recipe so far" in server.requests[0]["messages"][-1]["content"]


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("GNNPOT_LLM_BASE_URL", raising=False)
    with pytest.raises(BuilderError, match="GNNPOT_LLM_BASE_URL"):
        LanguageModel.from_environment()
    monkeypatch.setenv("GNNPOT_LLM_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("GNNPOT_LLM_MODEL", "small")
    assert LanguageModel.from_environment().model == "small"
