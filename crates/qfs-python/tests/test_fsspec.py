"""The fsspec file system, by fsspec's own suite, and what that leaves out."""

import fsspec
import fsspec.tests.abstract as abstract
import pytest
from fsspec.registry import get_filesystem_class

import qfs
from qfs.filesystem import QfsFileSystem


class Fixtures(abstract.AbstractFixtures):
    @pytest.fixture
    def fs(self, server):
        yield fsspec.filesystem("qfs", host="127.0.0.1", port=server.port, fingerprint=server.fingerprint)
        fsspec.filesystem("qfs").clear_instance_cache()

    @pytest.fixture
    def fs_join(self):
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def fs_path(self):
        return "/base"


class TestCopy(abstract.AbstractCopyTests, Fixtures):
    pass


class TestGet(abstract.AbstractGetTests, Fixtures):
    pass


class TestPut(abstract.AbstractPutTests, Fixtures):
    pass


class TestOpen(abstract.AbstractOpenTests, Fixtures):
    pass


class TestPipe(abstract.AbstractPipeTests, Fixtures):
    pass


class TestRest(Fixtures):
    def test_addresses(self):
        strip = QfsFileSystem._strip_protocol
        assert strip("qfs://h:1/a/b") == "/a/b" and strip("a") == "/a" and strip("qfs://h:1") == "/" and strip("/a/") == "/a"
        assert strip("qfs://h/a#b?c%20") == "/a#b?c%20"
        options = QfsFileSystem._get_kwargs_from_urls
        assert options("qfs://h:1/a") == {"host": "h", "port": 1} and options("qfs://h/a") == {"host": "h", "port": 8000}
        assert options("qfs://[::1]:2/a") == {"host": "::1", "port": 2} and options("qfs://[::1]/a")["port"] == 8000
        with pytest.raises(ValueError):
            options("qfs:///a")

    def test_it_is_registered(self):
        assert get_filesystem_class("qfs") is QfsFileSystem

    def test_names(self, fs, server):
        fs.pipe({"/a/b/1": b"1", "/a/2": b"22", "/3#x": b"333"})
        assert (server.root / "3#x").read_bytes() == b"333"
        assert fs.ls("/a", detail=False) == ["/a/2", "/a/b"]
        assert fs.ls("/a/2", detail=False) == ["/a/2"]
        assert fs.find("/") == ["/3#x", "/a/2", "/a/b/1"] and fs.find("/a/2") == ["/a/2"] and fs.find("/no") == []
        assert fs.find("/a", withdirs=True) == ["/a", "/a/2", "/a/b", "/a/b/1"] or "/a/b" in fs.find("/a", withdirs=True)
        assert fs.glob("/a/**/1") == ["/a/b/1"] and fs.glob("/*") == ["/3#x", "/a"]
        assert fs.isdir("/") and fs.isdir("/a") and fs.isfile("/a/2") and not fs.exists("/b") and fs.du("/a") == 3
        assert fs.unstrip_protocol("/a") == f"qfs://127.0.0.1:{server.port}/a"
        with pytest.raises(FileNotFoundError):
            fs.ls("/b")
        with pytest.raises(FileNotFoundError):
            fs.info("/b")
        fs.mv("/a/2", "/a/4")
        assert fs.cat("/a/4") == b"22" and not fs.exists("/a/2")
        before = fs.ukey("/a/4")
        fs.pipe("/a/4", b"other")
        assert fs.ukey("/a/4") != before
        fs.rmdir("/a") if not fs.ls("/a") else fs.rm("/a", recursive=True)
        assert fs.ls("/", detail=False) == ["/3#x"]

    def test_ranges(self, fs):
        content = bytes(range(256)) * 1000
        fs.pipe("/x", content)
        assert fs.cat_file("/x", -3) == content[-3:] and fs.cat_file("/x", 5, -5) == content[5:-5]
        assert fs.cat_ranges(["/x"] * 100, list(range(100)), [n + 7 for n in range(100)]) == [content[n : n + 7] for n in range(100)]
        found = fs.cat_ranges(["/x", "/no"], [0, 0], [1, 1])
        assert found[0] == content[:1] and isinstance(found[1], FileNotFoundError)
        with pytest.raises(qfs.NotFound):
            fs.cat_ranges(["/no"], [0], [1], on_error="raise")
        for cache in ("none", "readahead", "bytes", "all", "blockcache"):
            with fs.open("/x", cache_type=cache, block_size=1000) as file:
                assert file.size == len(content) and file.seek(123_456) and file.read(10) == content[123_456:123_466]
        with fs.open("/x", "r", encoding="latin-1", newline="") as file:
            assert file.read(300) == content[:300].decode("latin-1")

    def test_transactions(self, fs):
        with fs.transaction:
            with fs.open("/x", "wb") as file:
                file.write(b"1")
            assert not fs.exists("/x")
        assert fs.cat("/x") == b"1"
        with pytest.raises(ZeroDivisionError), fs.transaction:
            with fs.open("/y", "wb") as file:
                file.write(b"1")
            raise ZeroDivisionError
        assert not fs.exists("/y")

    def test_progress(self, fs, tmp_path):
        fs.pipe("/x", b"x" * 100_000)
        callback = fsspec.callbacks.Callback()
        fs.get_file("/x", tmp_path / "y", callback=callback)
        assert (callback.size, callback.value) == (100_000, 100_000)

    def test_a_wrong_key(self, server):
        fs = fsspec.filesystem("qfs", host="127.0.0.1", port=server.port, fingerprint="sha256:" + "0" * 64)
        with pytest.raises(qfs.Untrusted):
            fs.ls("/")
