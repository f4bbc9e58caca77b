# The trainer, on an NVIDIA GPU: torch's own build brings CUDA, the host its driver and container toolkit.
#   docker run --gpus all ...
#   docker build -f docker/trainer-cuda.Dockerfile -t stream-prune-trainer-cuda .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt docker/trainer.txt ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement trainer.txt
COPY pyproject.toml README.md LICENSE ./
COPY stream_prune stream_prune
COPY beam_jobs beam_jobs
COPY serving serving
RUN /opt/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11.13-slim-bookworm
RUN useradd --uid 10001 --create-home app \
 && mkdir --parents /app/runs \
 && chown app /app/runs
COPY --from=build /opt/venv /opt/venv
COPY configs /app/configs
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/home/app/.cache/numba \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
WORKDIR /app
VOLUME /app/runs
HEALTHCHECK --interval=30s --start-period=5m \
    CMD ["python", "-c", "import os; os.stat(\"runs/stream/adaptive/journal.jsonl\"); os.kill(1, 0)"]
STOPSIGNAL SIGINT
ENTRYPOINT ["stream-prune"]
CMD ["train", "configs/stream.yaml", "--set", "device=cuda"]
