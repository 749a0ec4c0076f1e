"""The table on S3, without an account: a stand-in for the bucket on this machine, read by its s3:// address."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlparse
from xml.sax.saxutils import escape

import pytest

from gnnpot.data.mp import MP_TABLE, Curation, DeltaSource, TrajectoryTable, curate
from gnnpot.data.mp.filters import Labels

from .conftest import write_table

BUCKET, PREFIX = MP_TABLE.removeprefix("s3://").split("/", 1)


class Bucket(ThreadingHTTPServer):
    """Lists and serves the files of a folder as S3 does; remembers the requests for table files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.served, self.signed = folder, [], 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def send(self, status: int, data: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data) if length is None else length), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        self.server.signed += "Authorization" in self.headers
        url = urlparse(self.path)
        query = parse_qs(url.query)
        key = unquote(url.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if "list-type" in query:
            return self.send(200, self.listing(query.get("prefix", [""])[0], query.get("start-after", [""])[0]))
        path = self.server.folder / key
        if not key or not path.is_file():
            return self.send(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>" if body else b"")
        data = path.read_bytes()
        common = {"ETag": f'"{len(data)}"', "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if not body:
            return self.send(200, b"", len(data), **common)
        if span := self.headers.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            begin = int(first) if first else len(data) - int(last)
            end = min(int(last) + 1, len(data)) if first and last else len(data)
            if key.endswith(".parquet"):
                self.server.served.append((key, end - begin))
            return self.send(206, data[begin:end], Content_Range=f"bytes {begin}-{end - 1}/{len(data)}", **common)
        return self.send(200, data, **common)

    def listing(self, prefix: str, after: str) -> bytes:
        files = [p for p in sorted(self.server.folder.rglob("*")) if p.is_file()]
        keys = [(p.relative_to(self.server.folder).as_posix(), p.stat().st_size) for p in files]
        found = "".join(
            f"<Contents><Key>{escape(quote(k))}</Key><Size>{size}</Size><ETag>&quot;{size}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for k, size in keys
            if k.startswith(prefix) and k > after
        )
        head = f"<Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>false</IsTruncated>"
        return f'<?xml version="1.0"?><ListBucketResult>{head}{found}</ListBucketResult>'.encode()


@pytest.fixture
def bucket(rows, tmp_path, monkeypatch):
    write_table(tmp_path / "bucket" / PREFIX, rows, partition_by=["run_type"])
    server = Bucket(tmp_path / "bucket")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    yield server
    server.shutdown()
    server.server_close()


def test_the_published_address_is_read_without_an_account(bucket, tmp_path):
    options = Curation(run_types=("GGA",), filters=(Labels(),))
    remote = curate(DeltaSource(TrajectoryTable.open()), options, tmp_path / "remote")
    local = curate(DeltaSource(TrajectoryTable.open(str(tmp_path / "bucket" / PREFIX))), options, tmp_path / "local")
    assert bucket.signed == 0 and remote.manifest.shards == local.manifest.shards
    assert remote.manifest.curation["source"] == {"table": MP_TABLE, "version": 0, "ids": False}
    assert {key.split("/")[2] for key, _ in bucket.served} == {"run_type=GGA"}
