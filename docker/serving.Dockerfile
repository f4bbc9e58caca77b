# Serving: follows an alias and answers over HTTP. SIGTERM ends it once open requests are answered.
# MLFLOW_TRACKING_URI says where the registry is.
#   docker build -f docker/serving.Dockerfile -t stream-prune-serving .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt docker/serving.txt ./
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt --requirement serving.txt
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
EXPOSE 8080
HEALTHCHECK --interval=10s --start-period=2m \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen(\"http://127.0.0.1:8080/v2/health/ready\", timeout=5)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["stream-prune"]
CMD ["serve", "models:/flights@champion", "--host", "0.0.0.0", "--port", "8080"]
