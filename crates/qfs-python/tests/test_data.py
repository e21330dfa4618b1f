"""pandas, pyarrow and dask, with addresses as of any other store."""

import dask.dataframe
import fsspec
import pandas
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import pytest


@pytest.fixture
def frame():
    return pandas.DataFrame({"n": range(1000), "word": [f"w{n % 7}" for n in range(1000)]})


@pytest.fixture
def options(start):
    """A server that asks for a token, and what is said to it."""
    server = start("--auth", "tokens", token=["--can", "read,write,delete"])
    return server.url, {"token": server.token, "fingerprint": server.fingerprint}, server


def test_pandas(options, frame):
    url, storage_options, server = options
    frame.to_csv(f"{url}/x.csv", index=False, storage_options=storage_options)
    assert (server.root / "x.csv").read_text() == frame.to_csv(index=False)
    assert pandas.read_csv(f"{url}/x.csv", storage_options=storage_options).equals(frame)
    frame.to_csv(f"{url}/x.csv.gz", index=False, storage_options=storage_options)
    assert pandas.read_csv(f"{url}/x.csv.gz", storage_options=storage_options).equals(frame)
    frame.to_parquet(f"{url}/deep/x.parquet", storage_options=storage_options)
    read = pandas.read_parquet(f"{url}/deep/x.parquet", columns=["n"], storage_options=storage_options)
    assert read.n.tolist() == frame.n.tolist()
    with pytest.raises(PermissionError):
        pandas.read_csv(f"{url}/x.csv")
    with pytest.raises(FileNotFoundError):
        pandas.read_csv(f"{url}/no.csv", storage_options=storage_options)


def test_pandas_needs_no_option_on_loopback(server, frame):
    frame.to_json(f"{server.url}/x.json")
    assert pandas.read_json(f"{server.url}/x.json").word.tolist() == frame.word.tolist()


def test_pyarrow(options, frame):
    url, storage_options, _ = options
    fs, path = fsspec.url_to_fs(f"{url}/set", **storage_options)
    table = pyarrow.Table.from_pandas(frame)
    pyarrow.dataset.write_dataset(table, path, filesystem=fs, format="parquet", partitioning=["word"])
    dataset = pyarrow.dataset.dataset(path, filesystem=fs, partitioning=["word"])
    assert sorted(dataset.to_table()["n"].to_pylist()) == list(range(1000))
    third = dataset.to_table(filter=pyarrow.dataset.field("word") == "w3")
    assert len(third) == len(frame[frame.word == "w3"])
    pyarrow.parquet.write_table(table, f"{path}/../whole.parquet".replace("/set/..", ""), filesystem=fs)
    assert pyarrow.parquet.read_table("/whole.parquet", filesystem=fs).equals(table)
    wrapped = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(fs))
    assert wrapped.get_file_info("/whole.parquet").type == pyarrow.fs.FileType.File


def test_dask(options, frame):
    url, storage_options, _ = options
    split = dask.dataframe.from_pandas(frame, npartitions=4)
    split.to_csv(f"{url}/parts/p-*.csv", index=False, storage_options=storage_options)
    read = dask.dataframe.read_csv(f"{url}/parts/*.csv", storage_options=storage_options)
    assert read.n.sum().compute() == frame.n.sum()
    split.to_parquet(f"{url}/parquet", storage_options=storage_options)
    again = dask.dataframe.read_parquet(f"{url}/parquet", storage_options=storage_options)
    assert again.groupby("word").n.max().compute().to_dict() == frame.groupby("word").n.max().to_dict()
    # Other processes make connections of their own.
    assert read.n.max().compute(scheduler="processes", num_workers=2) == 999
