"""Datasets, and batches of them: Dataset, IterableDataset, TensorDataset, Subset, ConcatDataset, samplers, random_split, DataLoader, with PyTorch's names and meanings.

What it is not: no other process. Batches are made where they are asked for, one after the other.

>>> import diffeng as de
>>> pairs = TensorDataset(de.arange(5), de.arange(5) * 2.0)
>>> [(x.tolist(), y.tolist()) for x, y in DataLoader(pairs, batch_size=2)]
[([0, 1], [0.0, 2.0]), ([2, 3], [4.0, 6.0]), ([4], [8.0])]
"""
import bisect
import itertools
import math

import numpy as np

from ..errors import refuse
from ..import_paths import provide
from ..tensors import FUNCTIONS, Tensor, as_tensor, multinomial, randint, randperm, tensor


class Dataset:
    """What has entries by number: subclasses define __getitem__(k) and __len__()."""

    def __getitem__(self, k):
        raise NotImplementedError(f"{type(self).__name__} is missing __getitem__(self, k), which returns entry number k")


class IterableDataset(Dataset):
    """What has entries one after the other, and no numbers: subclasses define __iter__()."""

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} is missing __iter__(self), which yields the entries")


class ChainDataset(IterableDataset):
    """The entries of several IterableDatasets, one after the other."""

    def __init__(self, datasets):
        self.datasets = datasets

    def __iter__(self):
        return itertools.chain.from_iterable(self.datasets)


class TensorDataset(Dataset):
    """Entry k is the tuple of the k-th rows of tensors, which have equally many."""

    def __init__(self, *tensors):
        if len({t.shape[0] for t in tensors}) > 1:
            raise refuse(ValueError, f"TensorDataset{{here}}: Size mismatch between tensors: they have {', '.join(str(t.shape[0]) for t in tensors)} rows")
        self.tensors = tensors

    def __getitem__(self, k):
        return tuple([t[k] for t in self.tensors])

    def __len__(self):
        return self.tensors[0].shape[0]


class Subset(Dataset):
    """The entries of a dataset with these numbers."""

    def __init__(self, dataset, indices):
        self.dataset, self.indices = dataset, indices

    def __getitem__(self, k):
        return self.dataset[self.indices[k]]

    def __len__(self):
        return len(self.indices)


class ConcatDataset(Dataset):
    """The entries of several datasets, one after the other."""

    def __init__(self, datasets):
        self.datasets = list(datasets)
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()

    def __getitem__(self, k):
        k = k + len(self) if k < 0 else k
        which = bisect.bisect_right(self.cumulative_sizes, k)
        if k < 0 or which == len(self.datasets):
            raise IndexError(f"there are {len(self)} entries")
        return self.datasets[which][k - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self):
        return self.cumulative_sizes[-1] if self.datasets else 0


class Sampler:
    """The numbers of entries, in some order: subclasses define __iter__ and __len__. For DataLoader(sampler=...)."""

    def __init__(self, data_source=None):
        self.data_source = data_source

    def __len__(self):
        return len(self.data_source)


class SequentialSampler(Sampler):
    """0, 1, 2, ... of a dataset."""

    def __iter__(self):
        return iter(range(len(self.data_source)))


class RandomSampler(Sampler):
    """In random order; with replacement, or num_samples, so many draws, made when they are asked for."""

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        super().__init__(data_source)
        self.replacement, self.num_samples, self.generator = replacement, len(data_source) if num_samples is None else num_samples, generator

    def __iter__(self):
        n = len(self.data_source)
        if self.replacement:                                      # as many at a time as are worth a call: num_samples may stand for no end
            for begin in range(0, self.num_samples, 1000):
                yield from randint(n, (min(1000, self.num_samples - begin),), generator=self.generator).tolist()
            return
        for begin in range(0, self.num_samples, n):
            yield from randperm(n, generator=self.generator).tolist()[:self.num_samples - begin]

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Some numbers, in random order."""

    def __init__(self, indices, generator=None):
        self.indices, self.generator = indices, generator

    def __iter__(self):
        return iter([self.indices[k] for k in randperm(len(self.indices), generator=self.generator).tolist()])

    def __len__(self):
        return len(self.indices)


class BatchSampler(Sampler):
    """Lists of batch_size numbers of a sampler; drop_last: none that is shorter."""

    def __init__(self, sampler, batch_size, drop_last):
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self):
        numbers = iter(self.sampler)
        while batch := [*itertools.islice(numbers, self.batch_size)]:
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class WeightedRandomSampler(Sampler):
    """num_samples draws of 0, 1, ..., with probabilities in proportion to the weights."""

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        self.weights, self.num_samples, self.replacement, self.generator = as_tensor(weights, dtype=np.float64), num_samples, replacement, generator

    def __iter__(self):
        return iter(multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist())

    def __len__(self):
        return self.num_samples


def random_split(dataset, lengths, generator=None):
    """Subsets of these lengths, which share out all entries at random. lengths: counts, or parts of 1; what parts leave over goes to the first ones, one each.

    Raises ValueError where the lengths are not those of the dataset.
    """
    n, lengths = len(dataset), list(lengths)
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 and all([0 <= x <= 1 for x in lengths]):
        lengths = [math.floor(n * x) for x in lengths]
        for k in range(n - sum(lengths)):
            lengths[k % len(lengths)] += 1
    if sum(lengths) != n:
        raise refuse(ValueError, f"random_split{{here}}: Sum of input lengths does not equal the length of the input dataset: {sum(lengths)} and {n}")
    order, ends = randperm(n, generator=generator).tolist(), np.cumsum(lengths).tolist()
    return [Subset(dataset, order[end - count:end]) for end, count in zip(ends, lengths)]


def default_collate(batch):
    """Entries as one batch: tensors and arrays are stacked, numbers become a tensor (floats a float64 one), tuples, lists and dicts are collated part by part.

    Raises TypeError for others, RuntimeError for tensors of different shapes.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return FUNCTIONS["stack"](batch)
    if isinstance(first, (np.ndarray, np.generic)):
        return tensor(np.stack(batch))
    if isinstance(first, (int, float)):
        return tensor(batch, dtype=np.float64 if isinstance(first, float) else None)
    if isinstance(first, str):
        return batch
    if isinstance(first, dict):
        return {key: default_collate([entry[key] for entry in batch]) for key in first}
    if isinstance(first, (tuple, list)):
        if any([len(entry) != len(first) for entry in batch]):
            raise refuse(RuntimeError, "DataLoader{here}: each element in list of batch should be of equal size: pad them, or pass a collate_fn")
        parts = [default_collate(column) for column in zip(*batch)]
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise refuse(TypeError, f"DataLoader{{here}}: a batch of {type(first).__name__} is not known: entries are tensors, arrays, numbers, texts, or tuples, lists and dicts "
                            "of them; for others pass a collate_fn")


class DataLoader:
    """Batches of a dataset: an iterable, begun anew by each `for`.

    dataset: what has __getitem__ and __len__, a list too, or an IterableDataset, in its own order. batch_size None: entries one by one, as they are.
    shuffle: in another order each time, by manual_seed or the generator. sampler: the numbers of the entries, in order, instead, asked for batch by batch, so that
    it need not end. batch_sampler: lists of numbers, a batch each, instead of batch_size, shuffle, sampler and drop_last. drop_last: no batch that is smaller.
    collate_fn: a list of entries -> a batch (default_collate). pin_memory, persistent_workers: accepted, and without effect.
    """

    def __init__(self, dataset, batch_size=1, shuffle=False, sampler=None, *, num_workers=0, collate_fn=None, pin_memory=False, drop_last=False, generator=None,
                 persistent_workers=False, batch_sampler=None):
        if num_workers:
            raise refuse(ValueError, f"DataLoader{{here}}: num_workers={num_workers}: batches are made in this process; leave it out, or give num_workers=0")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise refuse(ValueError, "DataLoader{here}: batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
        streamed = isinstance(dataset, IterableDataset)
        if streamed and (shuffle or sampler is not None or batch_sampler is not None):
            raise refuse(ValueError, "DataLoader{here}: an IterableDataset has an order of its own: expected unspecified shuffle, sampler and batch_sampler")
        if not streamed and (not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__")):
            raise refuse(TypeError, f"DataLoader{{here}}: a dataset has __len__ and __getitem__, and {type(dataset).__name__} has not; a list of its entries would do: "
                                    "list(dataset)")
        if batch_size is not None and batch_size < 1:
            raise refuse(ValueError, f"DataLoader{{here}}: batch_size should be a positive integer value, but got batch_size={batch_size}")
        if shuffle and (sampler is not None or not len(dataset)):
            raise refuse(ValueError, "DataLoader{here}: " + ("the dataset is empty" if sampler is None else "sampler option is mutually exclusive with shuffle"))
        self.dataset, self.batch_size, self.shuffle, self.sampler, self.batch_sampler = dataset, batch_size, shuffle, sampler, batch_sampler
        self.collate_fn, self.drop_last, self.generator, self.num_workers = collate_fn, drop_last, generator, num_workers
        if not streamed and sampler is None:
            self.sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if not streamed and batch_sampler is None and batch_size is not None:
            self.batch_sampler = BatchSampler(self.sampler, batch_size, drop_last)

    def __len__(self):
        if self.batch_sampler is not None:
            return len(self.batch_sampler)
        n = len(self.dataset if self.sampler is None else self.sampler)
        return n if self.batch_size is None else n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self):
        if isinstance(self.dataset, IterableDataset):
            yield from self._streamed()
        elif self.batch_sampler is not None:
            for some in self.batch_sampler:
                yield self._batch(some)
        else:
            for k in self.sampler:
                yield self.dataset[k] if self.collate_fn is None else self.collate_fn(self.dataset[k])

    def _streamed(self):
        entries = iter(self.dataset)
        if self.batch_size is None:
            yield from entries if self.collate_fn is None else map(self.collate_fn, entries)
            return
        while some := [*itertools.islice(entries, self.batch_size)]:
            if len(some) == self.batch_size or not self.drop_last:
                yield (self.collate_fn or default_collate)(some)

    def _batch(self, some):
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[k] for k in some])
        rows, at = self.dataset, some
        while type(rows) is Subset:
            rows, at = rows.dataset, [rows.indices[k] for k in at]
        if type(rows) is TensorDataset:                       # all rows in one operation
            return [t[[*at]] for t in rows.tensors]
        return default_collate([self.dataset[k] for k in some])


provide(__name__, "dataset dataloader sampler")
