"""The graph that is run says what the exported one says; DLRM's picks no columns any more."""

import numpy as np
import onnx
import onnxruntime

from stream_prune.artifact.graph import read_graph


def test_a_layer_reads_all_products_instead_of_picked_ones(written):
    graph = onnx.load_from_string(read_graph(written / "head.onnx"))
    kept = [node.op_type for node in graph.graph.node]
    exported = onnx.load(written / "head.onnx", load_external_data=False)
    assert "Gather" in [node.op_type for node in exported.graph.node]
    assert "Gather" not in kept
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(written)
    )
    rng = np.random.default_rng(0)
    feed = {
        "dense": rng.normal(size=(40, 3)).astype(np.float32),
        "emb": rng.normal(size=(40, 3, 8)).astype(np.float32),
    }
    found, expected = (
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(
            None, feed
        )[0]
        for model in (graph.SerializeToString(), written / "head.onnx")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
