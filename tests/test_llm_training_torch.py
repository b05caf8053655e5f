"""Training beside PyTorch and transformers: the same weights, the same batches, and the losses of ten AdamW steps."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diffeng.llm import GPT2Config, init_parameters          # noqa: E402
from diffeng.llm.data import prepare          # noqa: E402
from diffeng.llm.step import TrainingSettings, new_state, training_step          # noqa: E402
from diffeng.llm.tokenizers import ByteTokenizer          # noqa: E402
from diffeng.llm.train import pretrain          # noqa: E402
from diffeng.llm.weights import load, save          # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")          # theirs


def perturbed(config):
    random = np.random.default_rng(0)
    return {k: (v + (0.02 if v.ndim == 1 else 0) * random.standard_normal(v.shape)).astype(np.float32) for k, v in init_parameters(config).items()}


def torch_steps(directory, settings, batches):
    """The losses and norms of PyTorch's own training of the model in a directory."""
    model = transformers.GPT2LMHeadModel.from_pretrained(directory).float().train()
    named = dict(model.named_parameters())
    groups = [{"params": [p for p in named.values() if (p.ndim > 1) is decays], "weight_decay": settings.decay if decays else 0.0} for decays in (True, False)]
    optimizer = torch.optim.AdamW(groups, betas=(settings.beta1, settings.beta2), eps=settings.epsilon)
    found = []
    for step, passes in enumerate(batches, 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate(step)
        optimizer.zero_grad()
        losses = []
        for tokens, targets, _ in passes:
            logits = model(input_ids=torch.tensor(tokens)).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(targets).flatten()) / len(passes)
            loss.backward()
            losses.append(loss.item())
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip) if settings.clip else torch.tensor(np.nan)
        optimizer.step()
        found.append((sum(losses), norm.item()))
    return found, {k.removeprefix("transformer."): v.detach().numpy() for k, v in named.items()}


@pytest.mark.parametrize("sizes, changes", [
    (dict(vocab_size=65, context_length=16, emb_dim=32, n_heads=4, n_layers=2), {}),
    (dict(vocab_size=101, context_length=13, emb_dim=36, n_heads=3, n_layers=3), dict(accumulate=2, clip=0.3)),
    (dict(vocab_size=300, context_length=24, emb_dim=40, n_heads=5, n_layers=1), dict(clip=0.0, decay=0.5, learning_rate=1e-3, beta2=0.95)),
])
def test_ten_steps_follow_pytorch(tmp_path, sizes, changes):
    config = GPT2Config(**sizes, drop_rate=0.0)
    settings = TrainingSettings(**dict(batch=4, steps=12, warmup=3, learning_rate=3e-3) | changes)
    save(tmp_path, config, perturbed(config))
    random = np.random.default_rng(1)
    shape = (2, settings.batch, config.context_length)
    batches = [[(*random.integers(0, config.vocab_size, shape), k) for k in range(settings.accumulate)] for _ in range(10)]
    theirs, weights = torch_steps(tmp_path, settings, batches)
    step, state = training_step(config, settings), new_state({k: np.array(v) for k, v in load(tmp_path)[1].items()})
    for k, passes in enumerate(batches, 1):
        state, loss, norm = step(state, passes, settings.numbers(k))
        assert abs(loss - theirs[k - 1][0]) < 1e-5 * abs(loss), (k, loss, theirs[k - 1])
        assert not settings.clip or abs(norm - theirs[k - 1][1]) < 1e-4 * norm
    for name, p in state["parameters"].items():
        if not name.endswith("c_attn.bias"):                   # the keys' gradient is 0 but for rounding
            np.testing.assert_allclose(p, weights[name], atol=2e-4, err_msg=name)


def test_transformers_load_what_training_leaves(tmp_path):
    config = GPT2Config(vocab_size=256, context_length=16, emb_dim=16, n_heads=2, n_layers=2, drop_rate=0.1)
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be\n" * 100)
    prepare(text, ByteTokenizer(), tmp_path)
    ByteTokenizer().save(tmp_path)
    pretrain(tmp_path, config, TrainingSettings(batch=4, steps=5))
    model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    from diffeng.llm import gpt2
    tokens = ByteTokenizer().encode("not to be, or")[None]
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor(tokens)).logits.numpy()
    ours = gpt2(load(tmp_path)[1], tokens, config)
    assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)
