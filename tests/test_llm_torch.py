"""GPT-2 against transformers' GPT2LMHeadModel with the same random weights: logits, loss, the gradient of every parameter,
generation, and the directory both ways."""
import numpy as np
import pytest

import diffeng as de
from diffeng.llm import GPT2, GPT2Config, loss

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPES = {
    "tiny": dict(vocab_size=65, n_positions=16, n_embd=32, n_head=4, n_layer=2),
    "odd": dict(vocab_size=83, n_positions=13, n_embd=35, n_head=5, n_layer=3),
}


@pytest.fixture(scope="module", params=SHAPES)
def shape(request):
    return SHAPES[request.param]


@pytest.fixture(scope="module", params=["float32", "float64"])
def pair(request, shape, tmp_path_factory):
    """(ours, theirs): the same weights, every one of them perturbed, through the directory that theirs writes."""
    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape)).to(getattr(torch, request.param)).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            p += 0.1 * torch.randn_like(p)
    directory = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(directory)
    return GPT2.load(directory), theirs


@pytest.fixture(scope="module")
def tokens(shape):
    random = np.random.default_rng(1)
    return random.integers(0, shape["vocab_size"], (3, shape["n_positions"]))


def accuracy(model, single, double):
    return single if model.parameters["wte.weight"].dtype == np.float32 else double


def apart(got, want):
    """The distance in norm, relative to the size of what is wanted."""
    want = want.detach().numpy() if torch.is_tensor(want) else want
    assert got.dtype == want.dtype and got.shape == want.shape
    return np.linalg.norm(got - want) / np.linalg.norm(want)


def test_logits_and_loss(pair, tokens):
    ours, theirs = pair
    want = theirs(torch.tensor(tokens)).logits.detach().numpy()
    got = ours.logits(tokens)
    within = accuracy(ours, 1e-5, 1e-12)
    assert got.dtype == want.dtype and np.max(np.abs(got - want)) <= within * np.max(np.abs(want))
    mean = torch.nn.functional.cross_entropy(theirs(torch.tensor(tokens[:, :-1])).logits.flatten(0, 1), torch.tensor(tokens[:, 1:]).flatten()).item()
    assert abs(ours.loss(tokens[:, :-1], tokens[:, 1:]) - mean) <= within * mean
    for row, scores in zip(tokens, got):
        assert np.max(np.abs(ours.logits(row) - scores)) <= within * np.max(np.abs(want))


@pytest.mark.parametrize("compiled", [False, True])
def test_the_gradient_of_every_parameter(pair, tokens, compiled):
    ours, theirs = pair
    theirs.zero_grad()
    torch.nn.functional.cross_entropy(theirs(torch.tensor(tokens[:, :-1])).logits.flatten(0, 1), torch.tensor(tokens[:, 1:]).flatten()).backward()
    gradient = de.grad(lambda p: loss(p, tokens[:, :-1], tokens[:, 1:], ours.config))
    got = (de.jit(gradient) if compiled else gradient)(ours.parameters)
    want = {name.removeprefix("transformer."): p.grad for name, p in theirs.named_parameters()}
    assert set(got) == set(want)
    for name in got:
        assert apart(got[name], want[name]) <= accuracy(ours, 1e-4, 1e-10), name


def test_what_is_saved_here_loads_there(pair, tokens, tmp_path):
    ours, theirs = pair
    ours.save(tmp_path)
    back, report = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert back.dtype == theirs.dtype
    assert torch.equal(back.eval()(torch.tensor(tokens)).logits, theirs(torch.tensor(tokens)).logits)
    for name in SHAPES["tiny"]:
        assert getattr(back.config, name) == getattr(theirs.config, name)


def test_several_files(pair, tmp_path):
    ours, theirs = pair
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    again = GPT2.load(tmp_path)
    assert again.config == ours.config and all(np.array_equal(again.parameters[name], ours.parameters[name]) for name in ours.parameters)


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_half_precision_is_loaded_without_loss(pair, tmp_path, half):
    _, theirs = pair
    halved = transformers.GPT2LMHeadModel(theirs.config).to(getattr(torch, half))
    halved.save_pretrained(tmp_path)
    for name, array in GPT2.load(tmp_path).parameters.items():
        assert array.dtype == np.float32 and np.array_equal(array, halved.transformer.get_parameter(name).detach().float().numpy())


def test_the_likeliest_tokens_are_the_same(pair, tokens):
    ours, theirs = pair
    for row in tokens:
        new = len(row) - 3
        want = theirs.generate(torch.tensor(row[None, :3]), max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)
        assert ours.generate(row[:3], new, temperature=0).tolist() == want[0].tolist()


def test_a_model_without_biases_of_query_key_and_value_loads_there(tmp_path):
    config = GPT2Config(vocab_size=65, context_length=16, emb_dim=32, n_heads=4, n_layers=2, qkv_bias=False)
    model = GPT2(config, seed=1)
    model.save(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    got = theirs(torch.arange(10)[None]).logits.detach().numpy()[0]
    assert np.max(np.abs(got - model.logits(np.arange(10)))) < 1e-5


def test_dropout_goes_over(tmp_path):
    GPT2(GPT2Config(vocab_size=9, context_length=4, emb_dim=8, n_heads=2, n_layers=1, drop_rate=0.25)).save(tmp_path)
    config = transformers.GPT2Config.from_pretrained(tmp_path)
    assert (config.resid_pdrop, config.embd_pdrop, config.attn_pdrop) == (0.25, 0.25, 0.25)


def test_sampling_keeps_the_tokens_that_theirs_keeps():
    from transformers import TopKLogitsWarper, TopPLogitsWarper
    from diffeng.llm.sampling import choose
    random = np.random.default_rng(4)
    for trial in range(5):
        scores = random.standard_normal(40) * 3
        for top_k, top_p in ((None, 0.7), (5, None), (10, 0.5), (None, 1e-9), (40, 1.0)):
            left = torch.tensor(scores)[None]
            if top_k:
                left = TopKLogitsWarper(top_k)(None, left)
            if top_p:
                left = TopPLogitsWarper(top_p)(None, left)
            draws = (np.arange(1000) + 0.5) / 1000
            found = choose(np.broadcast_to(scores, (1000, 40)), draws, top_k=top_k, top_p=top_p)
            shares = torch.softmax(left[0], -1).numpy()
            assert np.max(np.abs(np.bincount(found, minlength=40) / 1000 - shares)) <= 1e-3
