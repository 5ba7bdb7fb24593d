"""Signatures, tokens and passwords of URLs never appear in output files or messages."""

import json
import re
from pathlib import Path

import pytest
from program import binary, manifest, pointshard, vnc_config, write_times
from signed_server import SECRETS, SIGNATURES, SignedServer, damaged, echo, page, redirect, wrong_types

pytestmark = pytest.mark.usefixtures("shared")


def signed_job(folder, host, signature, **changes):
    """A job with signed URLs only: collection, layers, annotations. Relative layers would have no signature."""
    query = f"X-Amz-Signature={signature}&X-Amz-Expires=60"
    rows = json.loads((folder / "rows.json").read_text())
    for layer in rows["layers"]:
        layer["source"] = f"precomputed://http://{host}/vnc/{layer['name']}?{query}"
    (folder / "objects/collection.json").write_text(json.dumps(rows))
    options = {"collection": f"http://{host}/collection.json?{query}", "arrays": {"img": {"layer": "img"}}}
    return vnc_config(folder, **(options | changes))


@pytest.fixture
def server(object_root, tmp_path):
    rows = json.loads((object_root / "vnc/collection.json").read_text())
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects/vnc").symlink_to(object_root / "vnc")
    with SignedServer(tmp_path / "objects") as server:
        yield server


def assert_no_secret(done, *folders):
    """No secret is in the output or in any file, in any case or encoding."""
    texts = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
    for folder in folders:
        texts |= {str(p): str(p).encode() + p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}
    assert len(texts) > 2 or not any(Path(f).exists() for f in folders)
    for name, text in texts.items():
        for secret in SECRETS:
            assert secret.lower().encode() not in text.lower(), f"{secret} in {name}:\n{done.stdout}\n{done.stderr}"
    assert "\x1b" not in done.stderr


def test_signed_urls_work_and_a_renewed_signature_is_the_same_job(server, tmp_path):
    config, out = signed_job(tmp_path, server.host, SIGNATURES[0]), tmp_path / "out"
    assert_no_secret(pointshard("preprocess", config, "--out", out, "--verbose"), out)
    about = manifest(out)
    assert about["config"]["collection"] == f"http://{server.host}/collection.json?<redacted>"
    assert about["collection"] == about["config"]["collection"]
    assert [s["location"] for s in about["sources"]] == [f"http://{server.host}/vnc/img?<redacted>"]
    before = write_times(out)
    config = signed_job(tmp_path, server.host, SIGNATURES[1])
    again = pointshard("preprocess", config, "--out", out)
    assert "nothing to do" in again.stdout and write_times(out) == before
    assert_no_secret(again, out)
    for command in (["plan", "--json"], ["plan", "--samples", "--verbose"], ["preprocess", "--dry-run", "--out", tmp_path / "other"]):
        assert_no_secret(pointshard(command[0], config, *command[1:]), out)
    assert_no_secret(pointshard("check", out), out)


@pytest.mark.parametrize("what", ["vnc/points/spatial0", "vnc/img/info", "vnc/img/4.6", "collection.json"])
@pytest.mark.parametrize(
    ("how", "code"),
    [(echo(403), 1), (echo(404), 1), (echo(500), 75), (echo(400), 1), (page, 1), (damaged, 1), (wrong_types, 1)],
    ids=["403", "404", "500", "400", "page", "damaged", "wrong types"],
)
def test_no_error_shows_a_secret(server, tmp_path, what, how, code):
    server.fault = lambda path: how if path.startswith(what) else None
    config, out = signed_job(tmp_path, server.host, SIGNATURES[0], missing="error"), tmp_path / "out"
    command = ["preprocess", config, "--out", out, "--retry-for", 1]
    done = pointshard(*command, code=code)
    assert_no_secret(done, out)
    assert done.stderr.count("error: ") == 1, done.stderr
    if how is page:
        assert "HTML page" in done.stderr
    # The next run resumes after a failure.
    server.fault = lambda path: None
    assert_no_secret(pointshard("preprocess", config, "--out", out), out)


def test_redirects_are_followed_or_shown_without_secrets(server, tmp_path):
    config, out = signed_job(tmp_path, server.host, SIGNATURES[0]), tmp_path / "out"
    with SignedServer(server.server.signed.root) as other:
        server.fault = lambda path: redirect(f"http://{other.host}") if "img/4.6" in path else None
        assert_no_secret(pointshard("preprocess", config, "--out", out), out)
        assert any("img/4.6" in path for path in other.paths)
    for to in ("http://user:SECRETpassword@127.0.0.1:1", "ftp://host/SECRETtoken?SECRETtoken", ""):
        server.fault = lambda path, to=to: redirect(to) if path == "collection.json" else None
        done = pointshard("preprocess", config, "--out", tmp_path / "none", code=1)
        assert "the server redirects" in done.stderr
        for secret in set(SECRETS) - ({"SECRETtoken"} if "ftp" in to else set()):
            assert secret.lower() not in done.stderr.lower(), done.stderr


PASSWORD = "http://user:SECRETpassword@127.0.0.1:1/x"
PASTED = "http://user:SECRETpassword@site/#!%7B%22layers%22:%5B%5D%7D"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"collection": PASSWORD}, 2),
        ({"collection": PASTED}, 2),
        ({"collection": f"http://site/#!{PASSWORD}"}, 2),
        ({"collection": {"neuroglancer_state": {"source": PASSWORD}}}, 2),
        ({"collection": {"zetta_api": {"url": PASSWORD, "collection": "c"}}}, 2),
        ({"collection": {"zetta_api": {"url": "http://localhost:SECRETpassword@127.0.0.1", "collection": "c", "token_env": "TOKEN"}}}, 2),
        ({"collection": {"boxes": {"source": PASSWORD, "layers": {"img": "img"}}}}, 2),
        ({"collection": {"boxes": {"source": "boxes", "layers": {"img": f"{PASSWORD}|zarr3:"}}}}, 2),
        ({"points": {"table": {"file": PASSWORD, "unit": "nm", "point": ["x", "y", "z"]}}}, 2),
        ({"points": {"neuroglancer_state": {"source": PASSWORD}}}, 2),
        ({"points": "http://host/x?SECRETtoken"}, 2),
        ({"window": "http://host/x?SECRETtoken"}, 2),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_password_in_a_url_is_an_error_that_does_not_show_it(tmp_path, change, code):
    config = vnc_config(tmp_path, **change)
    done = pointshard("preprocess", config, "--out", tmp_path / "out", code=code, env={"TOKEN": "SECRETtoken"})
    assert_no_secret(done, tmp_path / "out")
    assert re.search(r"at `(collection|points|window)", done.stderr), done.stderr


def test_a_password_in_a_collection_file_is_an_error_that_does_not_show_it(tmp_path, object_root):
    rows = json.loads((object_root / "vnc/collection.json").read_text())
    for source in ("precomputed://" + PASSWORD, PASSWORD + "|n5:", "s3://KEY:SECRETpassword@bucket/x", "HTTPS://SECRETtoken@h"):
        next(layer for layer in rows["layers"] if layer["name"] == "img")["source"] = source
        (tmp_path / "collection.json").write_text(json.dumps(rows))
        config = vnc_config(tmp_path, collection="collection.json", arrays={"img": {"layer": "img"}})
        done = pointshard("preprocess", config, "--out", tmp_path / "out", code=2)
        assert_no_secret(done, tmp_path / "out")
        assert "name and password" in done.stderr and "`img`" in done.stderr


def test_an_error_about_a_url_argument_does_not_show_its_query(tmp_path):
    for argument in ("https://h/config.json?SECRETtoken=1", "https://user:SECRETpassword@h/config.json"):
        done = pointshard("preprocess", argument, "--out", tmp_path / "out", code=2)
        assert_no_secret(done, tmp_path / "out")
    assert binary().exists()
