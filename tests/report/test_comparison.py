"""What console and page say below the table of figures."""

from typing import Any

from stream_prune.report.comparison import verdict
from stream_prune.report.page import render
from stream_prune.report.run import Run


def a_run(**reference: Any) -> Run:
    found = {"kind": "control", "macs_inference": 60_136, "verdict": "it <would> do"} | reference
    return Run(name="adaptive", lines=[], summary={"ne": 0.9, "reference": found})


def test_the_verdict_on_a_run_names_sizes_and_both_entropies():
    told = verdict(a_run(ne=0.9161, ne_reference=0.9160))
    assert told == "adaptive: it <would> do (60,136 MACs, NE 0.9160 beside 0.9161)"
    assert verdict(a_run()) == "adaptive: it <would> do (60,136 MACs)"
    assert verdict(Run(name="dense", lines=[], summary={"ne": 0.9})) == ""


def test_the_page_says_it_too():
    page = render([a_run(ne=0.9161, ne_reference=0.9160)], title="t", subtitle="s")
    assert "<p>adaptive: it &lt;would&gt; do (60,136 MACs, NE 0.9160 beside 0.9161)</p>" in page
