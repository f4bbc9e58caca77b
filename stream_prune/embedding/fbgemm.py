"""FBGEMM's table-batched embeddings as the back end: the extra ``fbgemm``.

All tables lie in one of FBGEMM's, whose rows are the flat rows. FBGEMM applies its optimizer inside
of the backward pass of its look-up; so that steps, dropped steps and summed gradients mean the same
as with the flat back end, that backward pass is run by ``step()``.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from stream_prune.embedding.gradients import Gradient, Pooled
from stream_prune.errors import ConfigError


class Fbgemm:
    """FBGEMM on the CPU or on a GPU, with exact row-wise Adagrad.

    Raises:
        ConfigError: it is not installed, or does not load beside this torch.
    """

    name = "fbgemm"

    def __init__(self, eps: float) -> None:
        self._eps = eps
        try:
            from fbgemm_gpu import split_table_batched_embeddings_ops_training as training
        except ImportError as error:
            raise ConfigError(_missing(error)) from error
        self._ops = training
        self._table: Any = None
        self._lr: float | None = None

    @property
    def description(self) -> str:
        return f"fbgemm ({self._ops.__name__.split('.')[0]} {_release()}, exact row-wise Adagrad)"

    def allocate(self, rows: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Views of FBGEMM's own storage, zeros.

        Raises:
            ConfigError: a width that is not a multiple of 4, which FBGEMM's kernels need.
        """
        if dim % 4:
            raise ConfigError(
                f"dim = {dim}: FBGEMM needs a multiple of 4: use another width, or backend 'flat'"
            )
        ops, cuda = self._ops, device.type == "cuda"
        place = ops.EmbeddingLocation.DEVICE if cuda else ops.EmbeddingLocation.HOST
        compute = ops.ComputeDevice.CUDA if cuda else ops.ComputeDevice.CPU
        table = ops.SplitTableBatchedEmbeddingBagsCodegen(
            [(max(1, rows), dim, place, compute)],
            optimizer=ops.OptimType.EXACT_ROWWISE_ADAGRAD,
            pooling_mode=ops.PoolingMode.SUM,
            eps=self._eps,
            device=device,
        )
        self._table, self._lr = table, None
        weight = table.split_embedding_weights()[0].zero_()
        accumulator = table.split_optimizer_states()[0][0].zero_()
        return weight[:rows], accumulator[:rows]

    def pool(self, weight: Tensor, pooled: Pooled, lr: float) -> tuple[Tensor, Pooled]:
        del weight  # it is a view of FBGEMM's own
        if not torch.is_grad_enabled():
            return self._look_up(pooled).detach(), pooled
        self._set(lr)
        vectors = self._look_up(pooled)
        return vectors.detach(), pooled._replace(graph=vectors)

    def step(
        self, weight: Tensor, accumulator: Tensor, gradients: list[Gradient], lr: float
    ) -> None:
        del weight, accumulator
        only = gradients[0].of.graph if len(gradients) == 1 else None
        if lr != self._lr:  # FBGEMM noted the rate of the look-up
            only = None
        self._set(lr)
        if only is not None:
            only.backward(gradients[0].values)  # type: ignore[no-untyped-call]
            return
        # Several passes are one update, so look all of them up again, together.
        with torch.enable_grad():
            together = self._look_up(_joined([gradient.of for gradient in gradients]))
            together.backward(  # type: ignore[no-untyped-call]
                torch.cat([gradient.values for gradient in gradients])
            )

    def _set(self, lr: float) -> None:
        if lr != self._lr:
            self._table.set_learning_rate(lr)
            self._lr = lr

    def _look_up(self, pooled: Pooled) -> Tensor:
        ends = pooled.ends
        if ends is None:
            ends = torch.arange(pooled.rows.numel() + 1, device=pooled.rows.device)
        vectors: Tensor = self._table(pooled.rows, ends, per_sample_weights=pooled.share)
        return vectors


def _joined(parts: list[Pooled]) -> Pooled:
    ends, share, begin = [], [], 0
    for part in parts:
        rows = part.rows
        bounds = torch.arange(rows.numel() + 1, device=rows.device)
        bounds = bounds if part.ends is None else part.ends
        ends.append(bounds[:-1] + begin)
        share.append(
            torch.ones(rows.numel(), device=rows.device) if part.share is None else part.share
        )
        begin += rows.numel()
    ends.append(torch.tensor([begin], device=parts[0].rows.device))
    rows = torch.cat([part.rows for part in parts])
    return Pooled(rows, torch.cat(ends), torch.cat(share), parts[0].layout)


def _release() -> str:
    for name in ("fbgemm-gpu-cpu", "fbgemm-gpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "of unknown release"


def _missing(error: ImportError) -> str:
    try:
        found = f"fbgemm-gpu-cpu {version('fbgemm-gpu-cpu')} does not load"
    except PackageNotFoundError:
        found = "fbgemm-gpu-cpu is not installed"
    return (
        f"backend 'fbgemm': {found} beside torch {torch.__version__} ({error}): "
        "pip install 'stream-prune[fbgemm]', which pairs with exactly one release of torch, or use "
        "backend 'flat'"
    )
