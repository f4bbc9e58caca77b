# The trainer, on CPU: a mini-batch log into a model, published as it goes. SIGTERM ends it as Ctrl-C would;
# it goes on from its last checkpoint.
#   docker build -f docker/trainer.Dockerfile -t stream-prune-trainer .
FROM python:3.11.13-slim-bookworm AS build
# Names an index of CPU builds of torch, where there is one: the default build carries CUDA, 5 GB.
ARG PIP_EXTRA_INDEX_URL
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
    OMP_NUM_THREADS=1
USER 10001
WORKDIR /app
VOLUME /app/runs
HEALTHCHECK --interval=30s --start-period=5m \
    CMD ["python", "-c", "import os; os.stat(\"runs/stream/adaptive/journal.jsonl\"); os.kill(1, 0)"]
STOPSIGNAL SIGINT
ENTRYPOINT ["stream-prune"]
CMD ["train", "configs/stream.yaml"]
