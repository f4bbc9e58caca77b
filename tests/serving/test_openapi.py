"""The OpenAPI document: its examples work, and no request made up from it makes the server fail."""

import json
import re
from html.parser import HTMLParser

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from requests_v2 import scores, serving
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serving.app import create_app
from serving.model_slot import ModelSlot

FILES = {"script": "text/javascript", "stylesheet": "text/css", "shortcut icon": "image/png"}

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)


@pytest.fixture(scope="module")
def document(written):
    slot = ModelSlot("ctr")
    slot.load(written, "7")
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(slot))


def test_no_request_made_up_from_the_document_makes_the_server_fail(document):
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=12, suppress_health_check=list(HealthCheck))
        def ask(case):
            case.call_and_validate(checks=CHECKS)

        ask()


def test_the_examples_of_the_document_are_answered(client):
    paths = client.get("/openapi.json").json()["paths"]
    infer = paths["/v2/models/{name}/infer"]["post"]
    assert {"200", "400", "404", "413", "429", "503"} <= set(infer["responses"])
    (name,) = (p["example"] for p in infer["parameters"])
    example = infer["requestBody"]["content"]["application/json"]["example"]
    found = scores(client.post(f"/v2/models/{name}/infer", json=example))
    frame = paths["/invocations"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = client.post("/invocations", json=frame)
    assert answer.json()["predictions"] == pytest.approx(found.tolist(), abs=1e-6)


def test_the_page_stands_before_a_model_does():
    with serving(ModelSlot("ctr")) as client:
        assert client.get("/docs").status_code == 200
        assert json.loads(client.get("/openapi.json").text)["paths"]


class Links(HTMLParser):
    """What a page has a browser fetch: its kind and its address; and the code in the page."""

    def __init__(self, page):
        super().__init__()
        self.found, self.code = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        for name in ("href", "src", "srcset", "action", "data"):
            if name in named:
                self.found.append((named.get("rel", tag), named[name]))

    def handle_data(self, data):
        self.code += data


def test_the_page_fetches_nothing_from_outside_of_the_server(client):
    page = Links(client.get("/docs").text)
    assert {kind for kind, _ in page.found} == set(FILES)
    for kind, address in page.found:
        assert re.match(r"/[^/]", address), address
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["content-type"].startswith(FILES[kind]), address
        if kind == "stylesheet":
            assert not re.search(r"@import|url\(\s*[\"']?(?!data:|[\"'#])", answer.text)
    assert "/openapi.json" in page.code
    assert "//" not in page.code
    assert client.get("/redoc").status_code == 404
