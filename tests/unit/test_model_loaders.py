"""Components that are models: real safetensors and ONNX files, damaged ones, and CoreML where it is not to be had."""

import asyncio
import json
import mmap
import platform
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preloader.components.contents import ConfinedFiles
from preloader.components.coreml_model import CoreMLLoader
from preloader.components.registry import ComponentRegistry
from preloader.components.safetensors_model import SafetensorsLoader
from preloader.errors import ConfigurationError, LoadError, PreloaderError, UnknownResourceError
from preloader.manager import PreloadManager
from preloader.scheduling.execution import InlineExecutor, ThreadExecutor
from preloader.settings import Settings

safetensors = pytest.importorskip("safetensors")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

TENSORS = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "bias": np.array([1, -2], np.int64),
    "mask": np.array([True, False]),
    "half": np.array(0.5, np.float16),
    "none": np.zeros((0, 3), np.float64),
}


UNUSED_FIXTURES = [HealthCheck.function_scoped_fixture]


def from_toml(folder, *lines):
    path = folder / "components.toml"
    path.write_text("[components.x]\n" + "\n".join(lines))
    return ComponentRegistry.from_toml(path)


def use(registry, body):
    """Run ``body(manager, value)`` with the component ``x`` in use."""

    async def main():
        once = Settings(load_attempts=1)
        async with (
            PreloadManager({"component": registry.provider()}, settings=once) as manager,
            manager.use("component:x") as value,
        ):
            return await body(manager, value)

    return asyncio.run(main())


async def itself(manager, value):
    return value


def refused(registry):
    with pytest.raises(LoadError) as caught:
        use(registry, itself)
    return str(caught.value)


def test_tensors_are_those_that_the_reference_wrote_and_are_not_copied(tmp_path):
    safetensors_numpy.save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "np"})
    registry = from_toml(tmp_path, "loader = 'safetensors:model.safetensors'")
    size = (tmp_path / "model.safetensors").stat().st_size
    assert registry["x"].bytes == size

    async def body(manager, model):
        assert set(model) == set(TENSORS)
        for name, tensor in TENSORS.items():
            np.testing.assert_array_equal(model[name], tensor, strict=True)
        assert model.metadata == {"format": "np"}
        assert manager.statistics().resident_bytes == size
        weight = model["weight"]
        assert isinstance(model.content.data, mmap.mmap)
        assert not weight.flags.owndata
        assert not weight.flags.writeable
        del weight
        return model

    model = use(registry, body)
    assert model.content.data.closed


def test_what_numpy_has_no_numbers_for_is_had_as_bits(tmp_path):
    header = json.dumps({"b": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "m").write_bytes(struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\x40")

    async def body(manager, model):
        assert model.bits("b").tolist() == [0x3F80, 0x4000]
        with pytest.raises(LoadError, match=r"'b' in 'm' is BF16, which NumPy lacks: use .bits\('b'\)"):
            model["b"]

    use(from_toml(tmp_path, "loader = 'safetensors:m'"), body)


def header_of(**tensors):
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header


def tensor(begin, end, shape=(1,), dtype="U8"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "its header would have 0 bytes"),
        (b"\xff" * 9, "its header would have 18,446,744,073,709,551,615 bytes"),
        (struct.pack("<Q", 2) + b"[]", "its header: Expected `object`, got `array`"),
        (struct.pack("<Q", 2) + b"{\x00", "its header: JSON is malformed"),
        (header_of(a=[1]), "its header: Expected `object`, got `array`"),
        (header_of(a=tensor(0, 1) | {"more": 1}) + b"x", "its header: Object contains unknown field `more`"),
        (header_of(a=tensor(0, 1, dtype="Q4")) + b"x", "'a' in 'm' is of an unknown type, 'Q4'"),
        (header_of(a=tensor(1, 2)) + b"xx", "'a' in 'm' begins at 1, where 0 would be right"),
        (header_of(a=tensor(0, 1), b=tensor(0, 1)) + b"x", "'b' in 'm' begins at 0, where 1 would be right"),
        (header_of(a=tensor(0, 2)) + b"xx", "'a' in 'm' has 2 bytes, which its shape does not"),
        (header_of(a=tensor(0, 1, [1] * 65)) + b"x", "'a' in 'm' has a shape that no array can have"),
        (header_of(a=tensor(0, 1, [-1, -1])) + b"x", "'a' in 'm' has a shape that no array can have"),
        (header_of(a=tensor(0, 0, [0, 2**62, 4])), "'a' in 'm' has a shape that no array can have"),
        (header_of(a=tensor(0, 1)), "its tensors have 1 bytes, and there are 0"),
        (header_of(a=tensor(0, 1)) + b"xx", "its tensors have 1 bytes, and there are 2"),
    ],
)
def test_a_damaged_file_of_tensors_is_refused_in_a_sentence(tmp_path, content, reason):
    (tmp_path / "m").write_bytes(content)
    assert reason in refused(from_toml(tmp_path, "loader = 'safetensors:m'"))


@given(st.data())
@settings(
    deadline=None, max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_the_reference_refuses_is_refused_whatever_was_changed(tmp_path, data):
    content = bytearray(safetensors_numpy.save(TENSORS))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "m").write_bytes(content)
    try:
        model = asyncio.run(SafetensorsLoader(ConfinedFiles(tmp_path), "m").load(InlineExecutor()))
    except PreloaderError:
        return
    reference = safetensors.deserialize(bytes(content))
    assert set(model) == {name for name, _ in reference}


def onnx_model(tmp_path, **changes):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32) * 2, "w")
    if changes.get("external"):
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="/etc/passwd")
    node = helper.make_node("MatMul", ["x", "w"], ["y"], domain=changes.get("domain", ""))
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value("x", 1, [None, 3])], [value("y", 1, [None, 3])], initializer=[weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    return onnx


def test_an_onnx_model_is_opened_and_run(tmp_path):
    onnx_model(tmp_path)
    registry = from_toml(tmp_path, "loader = 'onnx:model.onnx'")

    async def body(manager, model):
        assert (model.inputs, model.outputs) == (("x",), ("y",))
        assert manager.statistics().resident_bytes == (tmp_path / "model.onnx").stat().st_size
        return model.run({"x": np.ones((1, 3), np.float32)})["y"].tolist()

    assert use(registry, body) == [[2.0, 2.0, 2.0]]


def test_an_onnx_model_that_was_replaced_is_opened_anew(tmp_path):
    onnx_model(tmp_path)
    registry = from_toml(tmp_path, "loader = 'onnx:model.onnx'")

    async def body(manager, first):
        assert await manager.get("component:x") is first
        (tmp_path / "new").write_bytes((tmp_path / "model.onnx").read_bytes())
        (tmp_path / "new").rename(tmp_path / "model.onnx")
        assert await manager.get("component:x") is not first

    use(registry, body)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"external": True},
            "'model.onnx' is refused: the ONNX model keeps weights in other files, which is not",
        ),
        ({"domain": "evil"}, "'model.onnx' is refused: the ONNX model has operators of the domain 'evil'"),
    ],
)
def test_an_onnx_model_that_reaches_out_of_itself_is_refused(tmp_path, changes, reason):
    onnx_model(tmp_path, **changes)
    assert reason in refused(from_toml(tmp_path, "loader = 'onnx:model.onnx'"))


def test_what_is_no_onnx_model_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "model.onnx").write_bytes(b"certainly not")
    assert "'model.onnx' is refused: the ONNX model is damaged" in refused(
        from_toml(tmp_path, "loader = 'onnx:model.onnx'")
    )


@pytest.mark.skipif(platform.system() == "Darwin", reason="there CoreML is to be had")
def test_elsewhere_than_on_macos_a_coreml_model_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "m.mlpackage" / "Data").mkdir(parents=True)
    (tmp_path / "m.mlpackage" / "Data" / "weights").write_bytes(b"x" * 500)
    registry = from_toml(tmp_path, "loader = 'coreml:m.mlpackage'")
    assert registry["x"].bytes == 500
    assert "'m.mlpackage' is a CoreML model, which runs on macOS only, and this is Linux: use ONNX" in refused(registry)


def test_a_coreml_model_does_not_lead_out_of_its_root(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "m.mlpackage").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("x")
    with pytest.raises(UnknownResourceError, match="leads to"):
        CoreMLLoader(tmp_path / "root", "m.mlpackage").expected()


@pytest.mark.parametrize("kind", ["safetensors", "onnx", "coreml"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [("absent", "cannot be looked at"), ("../up", "is no file name here"), ("", "is no file name here")],
)
def test_a_model_that_is_not_there_is_named_with_its_place(tmp_path, kind, path, reason):
    with pytest.raises(ConfigurationError, match=rf"components.toml:2, field 'components.x.loader': .*{reason}"):
        from_toml(tmp_path, f"loader = '{kind}:{path}'")


def test_a_file_that_comes_later_may_be_declared(tmp_path):
    registry = from_toml(tmp_path, "loader = 'safetensors:later'", "bytes = 5_000")
    assert registry["x"].bytes == 5_000
    assert registry["x"].load_s > 0


def test_models_are_registered_from_python_too(tmp_path):
    safetensors_numpy.save_file(TENSORS, tmp_path / "m")
    registry = ComponentRegistry()
    registry.add("x", SafetensorsLoader(ConfinedFiles(tmp_path, "mmap"), "m"), requires=["base"])
    registry.simulated("base", bytes=1, load_s=0.0)
    assert set(use(registry, itself)) == set(TENSORS)
    with pytest.raises(ConfigurationError, match=r"component 'y': it cannot be looked at: .*absent"):
        registry_of_absent(tmp_path)


def registry_of_absent(tmp_path):
    ComponentRegistry().add("y", SafetensorsLoader(ConfinedFiles(tmp_path), "absent"))


def test_loading_off_the_loop_leaves_no_mapping_when_it_is_cancelled(tmp_path):
    safetensors_numpy.save_file(TENSORS, tmp_path / "m")

    async def main():
        executor = ThreadExecutor()
        load = asyncio.create_task(SafetensorsLoader(ConfinedFiles(tmp_path, "mmap"), "m").load(executor))
        await asyncio.sleep(0)
        load.cancel()
        await asyncio.wait([load])
        while executor.live:
            await asyncio.sleep(0.001)

    asyncio.run(main())
