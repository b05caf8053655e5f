"""Datasets and batches, and state dicts in files: on their own, and as PyTorch has them where it is installed."""
import json

import numpy as np
import pytest

import diffeng as de
from diffeng.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is not installed")


class Squares(Dataset):
    def __getitem__(self, k):
        return {"x": k, "y": (k * 0.5, "n" + str(k)), "z": de.tensor([k, k * k])}

    def __len__(self):
        return 7


def test_batches_in_order():
    x, y = de.arange(7), de.arange(14).reshape(7, 2).float()
    loader = DataLoader(TensorDataset(x, y), batch_size=3)
    assert len(loader) == 3 and [b[0].tolist() for b in loader] == [[0, 1, 2], [3, 4, 5], [6]] and [*loader][2][1].shape == (1, 2)
    assert [a.tolist() for a, _ in DataLoader(TensorDataset(x, y), 3, drop_last=True)] == [[0, 1, 2], [3, 4, 5]]
    assert [a.tolist() for a, _ in DataLoader(Subset(TensorDataset(x, y), [6, 0]), 2)] == [[6, 0]]
    batch = next(iter(DataLoader(Squares(), 2)))
    assert batch["x"].tolist() == [0, 1] and batch["x"].dtype == de.int64 and batch["y"][0].dtype == de.float64 and batch["y"][1] == ("n0", "n1")
    assert batch["z"].tolist() == [[0, 0], [1, 1]]
    assert [*DataLoader([1, 2, 3], 2, collate_fn=sum)] == [3, 3] and [*DataLoader([4, 5], None)] == [4, 5] and [b.tolist() for b in DataLoader([4, 5, 6], 2, sampler=[2, 0])] == [[6, 4]]


def test_shuffled_batches_are_all_entries_and_seeded():
    data = TensorDataset(de.arange(50))
    de.manual_seed(1)
    loader = DataLoader(data, 8, shuffle=True)
    first, second = ([k for b, in loader for k in b.tolist()] for _ in range(2))
    assert sorted(first) == sorted(second) == [*range(50)] and first != second
    de.manual_seed(1)
    assert [k for b, in loader for k in b.tolist()] == first
    one, other = (DataLoader(data, 50, shuffle=True, generator=de.Generator().manual_seed(4)) for _ in range(2))
    assert next(iter(one))[0].equal(next(iter(other))[0])


def test_random_split():
    parts = random_split(Squares(), [5, 2], de.Generator().manual_seed(0))
    assert [len(p) for p in parts] == [5, 2] and sorted(p["x"] for part in parts for p in (part[k] for k in range(len(part)))) == [*range(7)]
    assert [len(p) for p in random_split(range(10), [0.55, 0.45])] == [6, 4]
    with pytest.raises(ValueError, match="5 and 7"):
        random_split(Squares(), [2, 3])


def test_data_are_refused_with_a_cure():
    for make, text in ((lambda: DataLoader([1], num_workers=2), "num_workers=0"), (lambda: DataLoader(iter([1])), "list"), (lambda: DataLoader([1], 0), "positive"),
                       (lambda: DataLoader([], shuffle=True), "empty"), (lambda: TensorDataset(de.ones(2), de.ones(3)), "2, 3 rows"),
                       (lambda: default_collate([object()]), "collate_fn"), (lambda: default_collate([[1], [1, 2]]), "collate_fn"), (lambda: Dataset()[0], "__getitem__")):
        with pytest.raises(Exception, match=text):
            make()


@needs_torch
def test_batches_are_pytorchs():
    rows = np.arange(21, dtype=np.float32).reshape(7, 3)
    for options in (dict(batch_size=2), dict(batch_size=3, drop_last=True), dict(batch_size=7)):
        outs = []
        for m in (torch, de):
            data = m.utils.data.TensorDataset(m.tensor(rows), m.arange(7))
            outs.append([[t.numpy() for t in b] for b in m.utils.data.DataLoader(data, **options)])
            outs[-1] += [[t.numpy() for t in b] for b in m.utils.data.DataLoader([(k, k * 0.5, np.float32(k)) for k in range(7)], **options)]
        for a, b in zip(*outs, strict=True):
            for x, y in zip(a, b, strict=True):
                assert x.dtype == y.dtype and x.tolist() == y.tolist()
    assert [len(p) for p in torch.utils.data.random_split(range(10), [0.55, 0.45])] == [6, 4]


# ---- files --------------------------------------------------------------------------------------------------------------------------

def test_a_model_and_its_optimiser_go_on_from_a_file(tmp_path):
    def made():
        de.manual_seed(0)
        net = de.nn.Linear(3, 2)
        return net, de.optim.AdamW(net.parameters(), lr=0.1)

    def step(net, optimizer):
        optimizer.zero_grad()
        (net(de.ones(4, 3)) ** 2).sum().backward()
        optimizer.step()
    net, optimizer = made()
    step(net, optimizer)
    de.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1, "loss": [0.5, float("inf")]}, tmp_path / "run.pt")
    step(net, optimizer)
    found = de.load(tmp_path / "run.pt", map_location="cpu", weights_only=True)
    other, second = made()
    other.load_state_dict(found["model"])
    second.load_state_dict(found["optimizer"])
    step(other, second)
    assert other.weight.equal(net.weight) and found["epoch"] == 1 and found["loss"] == [0.5, float("inf")]


def test_what_is_saved_comes_back_as_it_was(tmp_path):
    path = tmp_path / "x.safetensors"
    x = {"a": de.arange(3), "b": {"c": (de.ones(2, dtype=de.float16), None, "text", [True, 2, 1.5])}, 3: {}, "b.c.0": np.zeros(2), "t": de.tensor(2.5)}
    de.save(x, path)
    y = de.load(path)
    assert [*y] == ["a", "b", 3, "b.c.0", "t"] and y["a"].equal(x["a"]) and y["b"]["c"][0].dtype == de.float16 and y["b"]["c"][1:] == (None, "text", [True, 2, 1.5])
    assert y[3] == {} and type(y["b.c.0"]) is np.ndarray and y["t"].shape == () and y["t"].item() == 2.5
    de.save(de.ones(2), path)                      # the file that was read is another now
    assert y["a"].equal(x["a"]) and de.load(path).equal(de.ones(2))


def test_files_of_others(tmp_path):
    from diffeng.llm.files import write_tensors
    write_tensors(tmp_path / "other", {"w": np.ones((2, 2), np.float32)})
    assert de.load(tmp_path / "other")["w"].equal(de.ones(2, 2))
    (tmp_path / "pickled.pt").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    with pytest.raises(ValueError, match="never loaded.*save_file"):
        de.load(tmp_path / "pickled.pt")
    for tree in (["object", "w"], ["tensor", "v"], ["dict", 3], []):
        write_tensors(tmp_path / "wrong", {"w": np.ones(2)}, {"diffeng.tree": json.dumps(tree)})
        with pytest.raises(ValueError, match="cannot be read"):
            de.load(tmp_path / "wrong")


def test_what_is_no_state_is_not_saved(tmp_path):
    for x, text in ((de.nn.Linear(1, 1), r"state_dict\(\)"), ({"f": [print]}, "at f.0"), ({(1, 2): 3}, "keys")):
        with pytest.raises(TypeError, match=text):
            de.save(x, tmp_path / "x")
    with pytest.raises(TypeError, match="no path"):
        de.save({}, 3)
    assert not [*tmp_path.iterdir()]


def test_datasets_one_after_the_other_and_samplers():
    from diffeng.utils import data
    both = data.ConcatDataset([[1, 2], [], [3, 4, 5]])
    assert [both[k] for k in range(5)] == [1, 2, 3, 4, 5] and both[-1] == 5 and len(both) == 5
    with pytest.raises(IndexError, match="5 entries"):
        both[5]
    assert [*data.SequentialSampler(both)] == [0, 1, 2, 3, 4]
    first, again = [[*data.RandomSampler(both, generator=de.Generator().manual_seed(1))] for _ in range(2)]
    assert first == again and sorted(first) == [0, 1, 2, 3, 4] and len([*data.RandomSampler(both, num_samples=7)]) == 7
    assert set(data.RandomSampler(both, replacement=True, num_samples=100)) == {0, 1, 2, 3, 4}
    weighted = data.WeightedRandomSampler([0.0, 1.0, 0.0, 3.0, 0.0], 200, generator=de.Generator().manual_seed(0))
    drawn = [x for batch in data.DataLoader(both, batch_size=4, sampler=weighted) for x in batch.tolist()]
    assert len(drawn) == len(weighted) == 200 and set(drawn) == {2, 4} and 120 < drawn.count(4) < 180


def test_streams_and_batches_of_ones_own():
    from diffeng.utils import data

    class Stream(data.IterableDataset):
        def __init__(self, *range_):
            self.range = range_

        def __iter__(self):
            return iter(range(*self.range))
    assert [b.tolist() for b in data.DataLoader(Stream(5), batch_size=2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in data.DataLoader(data.ChainDataset([Stream(2), Stream(5, 8)]), batch_size=2, drop_last=True)] == [[0, 1], [5, 6]]
    assert [*data.DataLoader(Stream(2), batch_size=None)] == [0, 1]
    with pytest.raises(ValueError, match="order of its own"):
        data.DataLoader(Stream(2), shuffle=True)
    with pytest.raises(TypeError, match="has no len"):
        len(data.DataLoader(Stream(2)))
    batches = data.BatchSampler(data.SequentialSampler(range(5)), 2, drop_last=False)
    loader = data.DataLoader([10, 11, 12, 13, 14], batch_sampler=batches)
    assert [b.tolist() for b in loader] == [[10, 11], [12, 13], [14]] and len(loader) == len(batches) == 3
    assert sorted(data.SubsetRandomSampler([3, 1, 4])) == [1, 3, 4]
    with pytest.raises(ValueError, match="mutually exclusive"):
        data.DataLoader([1], batch_sampler=batches, shuffle=True)


def test_samplers_are_asked_batch_by_batch():
    from diffeng.utils import data

    class Forever(data.Sampler):
        asked = 0

        def __iter__(self):
            while True:
                self.asked += 1
                yield self.asked % 10

    rows, endless = data.TensorDataset(de.arange(10)), Forever()
    batches = iter(data.DataLoader(rows, sampler=endless, batch_size=3))
    assert [next(batches)[0].tolist() for _ in range(4)] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [0, 1, 2]] and endless.asked == 12
    many = data.DataLoader(rows, batch_size=4, sampler=data.RandomSampler(rows, replacement=True, num_samples=10 ** 10))
    drawn = [k for _, (batch,) in zip(range(600), many) for k in batch.tolist()]
    assert len(many) == 25 * 10 ** 8 and len(drawn) == 2400 and {*drawn} == {*range(10)}
    assert len([*data.RandomSampler(rows, replacement=True, num_samples=2345)]) == 2345
    plain, mixed = data.DataLoader(rows, 4), data.DataLoader(rows, 4, shuffle=True)
    assert isinstance(plain.sampler, data.SequentialSampler) and isinstance(mixed.sampler, data.RandomSampler) and [*plain.batch_sampler][-1] == [8, 9]
