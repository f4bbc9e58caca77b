"""A runtime for MLServer, copied beside its settings: v2 requests to the artifact's scorer."""

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from stream_prune.artifact.scorer import Scorer


class Runtime(MLModel):
    async def load(self) -> bool:
        assert self.settings.parameters is not None
        self._scorer = Scorer.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        columns = {tensor.name: list(tensor.data) for tensor in payload.inputs}
        scores = self._scorer.score(columns)
        output = ResponseOutput(
            name="score", shape=[len(scores)], datatype="FP32", data=scores.tolist()
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
