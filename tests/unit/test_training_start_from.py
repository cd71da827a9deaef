"""A run that begins with an exported model begins with its function, at the same and at another input size."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("onnx", reason="training needs the [train] extra")
pytest.importorskip("onnxslim", reason="training needs the [train] extra")

from perception.training import warm_start  # noqa: E402
from perception.training.export import export, fold  # noqa: E402
from perception.training.feeder import Feeder  # noqa: E402
from perception.training.network import ConvBn, SsdLite  # noqa: E402
from perception.training.train import prepare  # noqa: E402
from robot.core.errors import DataError  # noqa: E402
from tests.unit.test_training_network import SHAPES, SPEC, tiny_recipe  # noqa: E402

OTHER = dataclasses.replace(SPEC, input_size_px=(160, 128))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[SsdLite, Path]:
    """A network with statistics and biases as after training, and its exported file."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    network = SsdLite(SPEC, width=0.25)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    network(torch.randn(4, 3, 64, 96))  # moves the statistics
    path = tmp_path_factory.mktemp("export") / "small.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(network, path)
    return network.eval(), path


def every_layer(network: SsdLite) -> list[ConvBn]:
    return [module for module in network.modules() if isinstance(module, ConvBn)]


@pytest.mark.parametrize("spec", [SPEC, OTHER], ids=["same size", "another size"])
def test_the_function_is_that_of_the_file(trained: tuple[SsdLite, Path], spec: object) -> None:
    network = SsdLite(spec, width=0.25)  # type: ignore[arg-type]
    filled = warm_start.load_onnx(network, trained[1])
    assert filled == sum(isinstance(m, torch.nn.Conv2d) for m in network.modules())
    width, height = spec.input_size_px  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(5)
    batches = [torch.randn(2, 3, height, width, generator=generator) for _ in range(3)]
    warm_start.calibrate(network, batches, every_layer(network))
    expected = SsdLite(spec, width=0.25)  # type: ignore[arg-type]
    expected.load_state_dict(trained[0].state_dict())
    images = torch.randn(1, 3, height, width, generator=generator)
    with torch.no_grad():
        for got, wanted in zip(network.eval()(images), fold(expected)(images), strict=True):
            scale = float(wanted.abs().max())
            torch.testing.assert_close(got, wanted, atol=0.01 * scale, rtol=0.0)  # the file's weights are float16
            assert float((wanted - wanted.mean()).abs().max()) > 0.05, "the outputs must say something"
    layer = every_layer(network)[5].bn
    assert float(layer.running_mean.abs().sum()) > 0  # batch norm has statistics again, not only a bias
    assert not torch.equal(layer.weight, torch.ones_like(layer.weight))


def test_a_recipe_that_starts_from_a_file_begins_with_its_function(
    trained: tuple[SsdLite, Path], tmp_path: Path
) -> None:
    config = dataclasses.replace(tiny_recipe(tmp_path / "data"), start_from=str(trained[1]))
    network = prepare(config, Feeder(config, tmp_path), tmp_path).eval()
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        for got, wanted in zip(network(images), trained[0](images), strict=True):
            np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=0.02 * float(wanted.abs().max()))


def test_a_file_that_is_no_onnx_is_named(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(b"half a model")
    with pytest.raises(DataError, match=r"cannot read .*cut\.onnx"):
        warm_start.load_onnx(SsdLite(SPEC, width=0.25), tmp_path / "cut.onnx")


def test_files_that_do_not_fit_are_refused_with_the_mend(trained: tuple[SsdLite, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        warm_start.load_onnx(SsdLite(SPEC, width=0.25), tmp_path / "none.onnx")
    with pytest.raises(DataError, match="same width"):
        warm_start.load_onnx(SsdLite(SPEC, width=0.5), trained[1])
    more = dataclasses.replace(SPEC, shapes_px=((*SHAPES[0], (9.0, 9.0)), *SHAPES[1:]))
    with pytest.raises(DataError, match=r"heads\.0"):
        warm_start.load_onnx(SsdLite(more, width=0.25), trained[1])
