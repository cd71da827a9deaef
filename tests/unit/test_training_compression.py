"""2:4 sparsity and quantisation-aware fine-tuning, on toy networks and in a tiny training run."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from perception.training.config import load_recipe  # noqa: E402
from perception.training.export import fold  # noqa: E402
from perception.training.fake_quant import FakeQuant, fake_int8_weight, fake_uint8  # noqa: E402
from perception.training.network import ConvBn, SsdLite  # noqa: E402
from perception.training.sparsity import Pruner, mask_2_4, prunable  # noqa: E402
from perception.training.studies.compression import variants  # noqa: E402
from perception.training.train import train  # noqa: E402
from tests.unit.test_training_network import SPEC, cut_run, tiny_recipe  # noqa: E402


def is_2_4(weight: Tensor) -> bool:
    """Whether no four consecutive input channels have more than two weights that are not zero."""
    return int((weight.reshape(weight.shape[0], -1, 4) != 0).sum(2).max()) <= 2


def test_the_two_largest_of_four_stay_and_ties_take_the_first() -> None:
    weight = torch.tensor([[1.0, -3, 2, 0.5, 1, 1, 1, 1], [0, 0, 0, 0, 5, -6, 7, -8]]).reshape(2, 8, 1, 1)
    assert mask_2_4(weight).reshape(2, 8).int().tolist() == [[0, 1, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1]]


def test_only_dense_trainable_1x1_layers_are_pruned_and_no_predictor() -> None:
    network = SsdLite(SPEC, width=0.25)
    network.freeze(2)
    names = [name for name, _ in prunable(network)]
    assert "blocks.3.expand.conv" in names
    assert "context.conv" in names
    assert not [n for n in names if n.startswith(("stem", "blocks.0", "blocks.1."))], "frozen layers"
    assert not [n for n in names if "depthwise" in n or n.endswith((".classes", ".boxes"))]


def toy() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(ConvBn(8, 16), ConvBn(16, 16, 3, groups=16), ConvBn(16, 4, relu=False))


def one_step(network: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(seed))
    optimiser.zero_grad()
    (network(images) - 1.0).square().mean().backward()
    optimiser.step()


def test_pruned_weights_stay_zero_in_the_network_and_in_its_average() -> None:
    network = toy()
    average = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.05)
    pruner = Pruner(network, begin=0.5)
    one_step(network, optimiser, 0)
    pruner.after_step(0.4, average)
    layers = [layer for _, layer in prunable(network)]
    assert len(layers) == 2
    assert not any(is_2_4(layer.weight) for layer in layers), "pruned too early"
    for k in range(3):
        one_step(network, optimiser, k)
        pruner.after_step(0.5 + 0.1 * k, average)
        for part in (network, average):
            assert all(is_2_4(layer.weight) for _, layer in prunable(part))
    pattern = [layer.weight != 0 for layer in layers]
    resumed = Pruner(network, begin=0.5)
    one_step(network, optimiser, 9)
    resumed.after_step(0.9, average)
    for layer, before in zip(layers, pattern, strict=True):
        assert torch.equal(layer.weight != 0, before), "a resumed run must keep the pattern"


def test_pruning_that_begins_at_the_end_never_begins() -> None:
    network = toy()
    before = copy.deepcopy(network.state_dict())
    Pruner(network, begin=1.0).after_step(1.0, copy.deepcopy(network))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_folded_weights_are_as_sparse() -> None:
    network = SsdLite(SPEC, width=0.25)
    Pruner(network, begin=0.0).after_step(0.0, network)
    network(torch.randn(2, 3, 64, 96))  # moves the statistics that are folded in
    folded = fold(network)
    assert all(is_2_4(folded.get_submodule(name).weight) for name, _ in prunable(network))


def test_weights_are_rounded_per_output_channel_as_int8_is() -> None:
    weight = torch.randn(5, 6, 3, 3, generator=torch.Generator().manual_seed(1))
    rounded = fake_int8_weight(weight)
    for channel in range(5):
        scale = float(weight[channel].abs().max()) / 127
        levels = (rounded[channel] / scale).numpy()
        np.testing.assert_allclose(levels, np.round(weight[channel].numpy() / scale), atol=1e-3)
        assert np.abs(levels).max() == pytest.approx(127)
    factors = torch.tensor([0.1, 3.0, 7.0, 0.01, 1.0]).reshape(5, 1, 1, 1)
    torch.testing.assert_close(
        fake_int8_weight(weight * factors), rounded * factors
    )  # folding batch norm changes nothing
    assert torch.equal(fake_int8_weight(torch.zeros(2, 3, 1, 1)), torch.zeros(2, 3, 1, 1))


def test_activations_are_rounded_to_256_levels_with_an_exact_zero() -> None:
    values = torch.tensor([-9.0, -1.0, -0.004, 0.0, 0.004, 0.5, 2.0, 9.0])
    rounded = fake_uint8(values, -1.0, 2.0)
    step = 3.0 / 255
    assert rounded[3] == 0.0
    assert (rounded[1:7] - values[1:7]).abs().max() <= step / 2 + 1e-6
    assert rounded[0] == pytest.approx(-1.0, abs=step)
    assert rounded[7] == pytest.approx(2.0, abs=step)
    assert len(torch.unique(fake_uint8(torch.linspace(0, 6, 5000), 0.0, 6.0))) == 256


def test_a_step_rounds_the_forward_pass_and_gives_the_weights_back() -> None:
    network = toy()
    before = copy.deepcopy(network.state_dict())
    images = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(3))
    network.eval()
    plain = network(images).detach()
    fake = FakeQuant(network, begin=0.5)
    with fake.step(0.4):
        torch.testing.assert_close(network(images).detach(), plain)
    with fake.step(0.5):
        rounded = network(images).detach()
    assert 0.0 < float((rounded - plain).abs().max()) < 0.1 * float(plain.abs().max())
    torch.testing.assert_close(network(images).detach(), plain)
    with pytest.raises(RuntimeError, match="in between"), fake.step(0.6):
        raise RuntimeError("in between")
    torch.testing.assert_close(network(images).detach(), plain)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_gradient_is_that_of_the_rounded_weights() -> None:
    layer = nn.Conv2d(4, 3, 1)
    images = torch.randn(1, 4, 5, 5, generator=torch.Generator().manual_seed(4))
    with FakeQuant(nn.Sequential(layer), begin=0.0).step(0.0):
        layer(images).square().sum().backward()
    twin = nn.Conv2d(4, 3, 1)
    twin.load_state_dict({"weight": fake_int8_weight(layer.weight.detach()), "bias": layer.bias.detach()})
    twin(images).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, twin.weight.grad)


def test_a_tiny_run_ends_sparse_and_resumes_with_the_same_pattern(tmp_path: Path) -> None:
    changes = {"sparse_from": 0.5, "fake_quant_from": 0.25, "save_every_steps": 3}
    config = dataclasses.replace(tiny_recipe(tmp_path / "data"), **changes)
    cut_run(config, tmp_path / "run", tmp_path, 3)
    name = "blocks.5.expand.conv.weight"
    first = torch.load(tmp_path / "run" / "last.pt", weights_only=False)["network"][name]
    weights = train(config, tmp_path / "run", tmp_path, resume=True)
    averaged = torch.load(weights, weights_only=True)["network"]
    last = torch.load(tmp_path / "run" / "last.pt", weights_only=False)["network"][name]
    assert is_2_4(averaged[name])
    assert torch.equal(first != 0, last != 0)
    assert not torch.equal(first, last), "the weights that stayed are trained on"


def test_the_engine_builder_sees_which_layers_are_sparse(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from perception.detection.backends.nvidia.onnx_graph import count_2_4

    rng = np.random.default_rng(0)
    dense = rng.normal(size=(6, 8, 1, 1)).astype(np.float32)
    sparse = dense * mask_2_4(torch.from_numpy(dense)).numpy()
    depthwise = rng.normal(size=(6, 1, 3, 3)).astype(np.float32)
    tensors = [onnx.numpy_helper.from_array(w, n) for n, w in (("a", dense), ("b", sparse), ("c", depthwise))]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))
    assert count_2_4(model.SerializeToString()) == (1, 2)


def test_the_study_differs_in_nothing_but_what_it_studies() -> None:
    parts = variants(load_recipe("fast_hard"), "runs/x/ema.pt", 40)
    assert {n: (c.sparse_from, c.fake_quant_from) for n, c in parts.items()} == {
        "dense": (1.0, 1.0),
        "sparse": (0.0, 1.0),
        "fake_quant": (1.0, 0.0),
    }
    alike = {dataclasses.replace(c, name="", sparse_from=1.0, fake_quant_from=1.0) for c in parts.values()}
    assert len(alike) == 1
    assert {(c.checkpoint, c.steps, c.max_minutes) for c in alike} == {("runs/x/ema.pt", 40, 0.0)}
