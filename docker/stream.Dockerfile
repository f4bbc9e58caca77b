# The Beam job: topics into a mini-batch log. SIGTERM ends it after its micro-epoch; what is open is read again.
# The same image plays logs into topics: docker run ... produce configs/stream.yaml
#   docker build -f docker/stream.Dockerfile -t stream-prune-stream .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt docker/stream.txt ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement stream.txt
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
    NUMBA_CACHE_DIR=/home/app/.cache/numba
USER 10001
WORKDIR /app
VOLUME /app/runs
HEALTHCHECK --interval=30s --start-period=2m \
    CMD ["python", "-c", "import os, time; exit(time.time() - os.stat(\"runs/alive\").st_mtime > 60)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["stream-prune"]
CMD ["stream", "configs/stream.yaml", "--alive", "runs/alive"]
