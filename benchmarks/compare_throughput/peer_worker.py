"""Trains a peer's model on saved clicks, when told to; run by that peer's own interpreter.

    python peer_worker.py MODEL FOLDER BATCH TEST_ROWS

Each line of its input is ``learn N`` (the next N mini-batches; answers the processor seconds they
took) or ``test`` (answers the probabilities' logloss on the last rows). It imports nothing of the
project that it is compared with. Settings are the peer's own except for widths, a learning rate of
0.001 for Adam, and no penalty on weights (which costs both of them a look at every row).
"""

import sys
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

DIM, BOTTOM, TOP, RATE = 16, [512, 256, 64], [512, 256], 0.001


class Fuxi:
    """FuxiCTR's DLRM, of its own layers and with its own training step.

    The wheel has the layers and the base class of models; the models themselves are not in it.
    """

    def __init__(self, sizes, dense):
        from fuxictr.features import FeatureMap
        from fuxictr.pytorch.layers import FeatureEmbedding, InnerProductInteraction, MLP_Block
        from fuxictr.pytorch.models import BaseModel

        features = FeatureMap("clicks", ".")
        features.labels = ["label"]
        for i in range(dense):
            features.features[f"d{i}"] = {"type": "numeric", "source": ""}
        for i, size in enumerate(sizes):
            column = {"type": "categorical", "source": "", "vocab_size": int(size)}
            features.features[f"c{i}"] = {**column, "padding_idx": None}
        features.num_fields = len(features.features)
        self.numbers = [f"d{i}" for i in range(dense)]
        numbers, fields = self.numbers, len(sizes)

        class DLRM(BaseModel):
            def __init__(self):
                super().__init__(features, gpu=-1, verbose=0, model_root=".", metrics=["logloss"])
                self.embedding = FeatureEmbedding(
                    features, DIM, not_required_feature_columns=numbers
                )
                self.bottom = MLP_Block(
                    dense, hidden_units=BOTTOM, output_dim=DIM, output_activation="ReLU"
                )
                self.dots = InnerProductInteraction(fields + 1, output="inner_product")
                inputs = (fields + 1) * fields // 2 + DIM
                self.top = MLP_Block(
                    inputs, hidden_units=TOP, output_dim=1, output_activation=self.output_activation
                )
                self.compile("adam", "binary_crossentropy", RATE)
                self.reset_parameters()
                self._max_gradient_norm = 10

            def forward(self, inputs):
                x = self.get_inputs(inputs)
                vector = self.bottom(torch.stack([x[name] for name in numbers], 1).float())
                emb = torch.cat([vector.unsqueeze(1), self.embedding(x)], 1)
                return {"y_pred": self.top(torch.cat([vector, self.dots(emb)], 1))}

        self.model = DLRM()

    def _inputs(self, dense, ids, label):
        columns = OrderedDict((name, dense[:, i]) for i, name in enumerate(self.numbers))
        columns.update((f"c{i}", ids[:, i]) for i in range(ids.shape[1]))
        columns["label"] = label
        return columns

    def learn(self, dense, ids, label):
        self.model.train()
        self.model.train_step(self._inputs(dense, ids, label))

    @torch.no_grad()
    def score(self, dense, ids, label):
        self.model.eval()
        return self.model(self._inputs(dense, ids, label))["y_pred"].flatten()


class DeepCTR:
    """DeepCTR-Torch's DeepFM, trained with the lines of its own ``fit``."""

    def __init__(self, sizes, dense):
        from deepctr_torch.inputs import DenseFeat, SparseFeat
        from deepctr_torch.models import DeepFM

        columns = [SparseFeat(f"c{i}", int(n), embedding_dim=DIM) for i, n in enumerate(sizes)]
        columns += [DenseFeat(f"d{i}", 1) for i in range(dense)]
        none = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "l2_reg_dnn": 0}
        self.model = DeepFM(columns, columns, dnn_hidden_units=tuple(TOP), **none)
        adam = torch.optim.Adam(self.model.parameters(), lr=RATE)
        self.model.compile(adam, "binary_crossentropy")

    def learn(self, dense, ids, label):
        model = self.model.train()
        predicted = model(torch.cat([ids.float(), dense], 1)).squeeze()
        model.optim.zero_grad()
        loss = model.loss_func(predicted, label.squeeze(), reduction="sum")
        (loss + model.get_regularization_loss() + model.aux_loss).backward()
        model.optim.step()

    @torch.no_grad()
    def score(self, dense, ids, _):
        return self.model.eval()(torch.cat([ids.float(), dense], 1)).flatten()


MODELS = {"fuxictr": Fuxi, "deepctr-torch": DeepCTR}


def main(name, folder, batch, test_rows):
    torch.set_num_threads(1)
    torch.manual_seed(7)
    batch, test_rows = int(batch), int(test_rows)
    dense, ids, label, sizes = (
        np.load(Path(folder) / f"{part}.npy") for part in ("dense", "ids", "label", "sizes")
    )
    answers, sys.stdout = sys.stdout, sys.stderr  # both peers print
    peer, place = MODELS[name](sizes, dense.shape[1]), 0

    def rows(start, stop):
        return tuple(torch.from_numpy(part[start:stop]) for part in (dense, ids, label))

    for line in sys.stdin:
        if line.startswith("learn"):
            ready = [
                rows(start * batch, (start + 1) * batch)
                for start in range(place, place + int(line.split()[1]))
            ]
            place += len(ready)
            started = time.process_time()
            for each in ready:
                peer.learn(*each)
            print(time.process_time() - started, file=answers, flush=True)
        else:
            first = len(label) - test_rows
            given = [
                peer.score(*rows(start, start + batch)).numpy()
                for start in range(first, len(label), batch)
            ]
            p = np.clip(np.concatenate(given).astype(np.float64), 1e-7, 1 - 1e-7)
            wanted = label[first:] > 0.5
            loss = -np.mean(np.where(wanted, np.log(p), np.log1p(-p)))
            print(loss, file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
