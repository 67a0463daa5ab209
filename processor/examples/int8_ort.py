"""ONNX Runtime's dynamic int8 for `int8.rs`, one thread: answers each line of its input with a line.

pip install onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic


def main() -> None:
    data = json.loads(sys.stdin.readline())
    session = load(Path(sys.argv[1]))
    answer(f"onnxruntime {onnxruntime.__version__}, dynamic int8, a scale a column")
    for line in sys.stdin:
        command, index, *rest = line.split(maxsplit=2)
        batches = data[int(index)]
        if command == "judge":
            answer([row for batch in batches for row in run(session, batch).tolist()])
        else:
            began = time.process_time()
            for position in json.loads(rest[0]):
                run(session, batches[position])
            answer(time.process_time() - began)


def answer(value: object) -> None:
    print(json.dumps(value), flush=True)


def run(session: onnxruntime.InferenceSession, batch: dict) -> np.ndarray:
    ids = np.zeros((len(batch["rows"]), batch["tokens"]), np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch["rows"]):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def load(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        plain, rounded = Path(folder) / "plain.onnx", Path(folder) / "rounded.onnx"
        onnx.save(unpacked(onnx.load(path)), plain)
        quantize_dynamic(plain, rounded, per_channel=True, weight_type=QuantType.QInt8)
        return onnxruntime.InferenceSession(rounded.read_bytes(), options, providers=["CPUExecutionProvider"])


def unpacked(network: onnx.ModelProto) -> onnx.ModelProto:
    """The network with its stored int8 matrices as float32, which is what the quantiser reads."""
    graph = network.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and all(name in stored for name in node.input):
            values, scale, *zero = (numpy_helper.to_array(stored[name]) for name in node.input)
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            shape = [1] * values.ndim
            if scale.size != 1:
                shape[axis] = scale.size
            floats = values.astype(np.float32) - (zero[0].reshape(shape).astype(np.float32) if zero else 0)
            graph.initializer.append(numpy_helper.from_array((floats * scale.reshape(shape)).astype(np.float32), node.output[0]))
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return network


if __name__ == "__main__":
    main()
