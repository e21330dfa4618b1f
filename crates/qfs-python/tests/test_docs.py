"""What docs/PYTHON.md shows is run."""

import doctest
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs" / "PYTHON.md"


def test_the_examples_do_what_they_show(server, tmp_path, monkeypatch):
    (server.root / "models" / "v2").mkdir(parents=True)
    (server.root / "models" / "v2" / "weights.bin").write_bytes(bytes(300_000))
    (server.root / "weather.csv").write_bytes(b"city,degrees\nOslo,3\nLagos,31\nBe\n")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    text = DOCUMENT.read_text(encoding="utf-8").replace("qfs://127.0.0.1:8000", server.url)
    # The fence that ends an example is none of its output.
    text = "\n".join("" if line.startswith("```") else line for line in text.splitlines())
    examples = doctest.DocTestParser().get_doctest(text, {}, DOCUMENT.name, str(DOCUMENT), 0)
    assert len(examples.examples) > 30
    said = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples, out=said.append)
    assert not failed, "".join(said)
