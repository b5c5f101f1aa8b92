"""A sentence encoder that is written down by hand: words of one meaning share a vector, so that it is a real one."""

import json

import numpy as np
import onnx
from onnx import helper, numpy_helper

WIDTH = 6
SPECIAL = ("[UNK]", "[CLS]", "[SEP]")
MEANINGS = (("lamp", "light", "bulb"), ("song", "music", "tune"), ("door", "gate", "lock"), ("please", "now", "the"))
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def vocabulary():
    return {word: at for at, word in enumerate((*SPECIAL, *(word for words in MEANINGS for word in words)))}


def table(seed=0):
    """Return the vectors of all tokens: (tokens, WIDTH)."""
    meanings = np.random.default_rng(seed).normal(size=(len(MEANINGS), WIDTH))
    rows = [np.zeros(WIDTH), np.full(WIDTH, 0.1), np.full(WIDTH, -0.1)]
    return np.array([*rows, *(meaning for meaning, words in zip(meanings, MEANINGS, strict=True) for _ in words)], "f4")


def write_encoder(folder, seed=0, inputs=INPUTS, output="last_hidden_state", domain="", padding=None):
    """Write an encoder into a new folder, and return the folder."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(_model(seed, inputs, output, domain))
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(padding)))
    return folder


def _model(seed, inputs, output, domain):
    weights = [
        numpy_helper.from_array(table(seed), "table"),
        numpy_helper.from_array(np.zeros((2, WIDTH), np.float32), "types"),
        numpy_helper.from_array(np.array([2], np.int64), "axis"),
    ]
    mask, kinds = inputs[1:] if len(inputs) == 3 else (inputs[0], inputs[0])
    nodes = [
        helper.make_node("Gather", ["table", inputs[0]], ["known"]),
        helper.make_node("Cast", [mask], ["mask.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask.float", "axis"], ["mask"]),
        helper.make_node("Sign", ["mask"], ["heard"]),
        helper.make_node("Mul", ["known", "heard"], ["masked"]),
    ]
    if len(inputs) == 3:
        nodes += [
            helper.make_node("Gather", ["types", kinds], ["typed"]),
            helper.make_node("Add", ["masked", "typed"], ["hidden"]),
        ]
    last = nodes[-1].output[0]
    nodes.append(helper.make_node("Identity", [last], [output], domain=domain))
    given = [helper.make_tensor_value_info(name, onnx.TensorProto.INT64, ["batch", "tokens"]) for name in inputs]
    said = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["batch", "tokens", WIDTH])
    opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph(nodes, "encoder", given, [said], weights)
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def _tokenizer(padding):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = vocabulary()
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])]
    )
    if padding is not None:
        tokenizer.enable_padding(length=padding)
    return json.loads(tokenizer.to_str())
