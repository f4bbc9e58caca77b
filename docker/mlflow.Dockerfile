# MLflow's tracking server and registry, with the driver for Postgres.
#   docker build -f docker/mlflow.Dockerfile -t stream-prune-mlflow .
FROM python:3.11.13-slim-bookworm
WORKDIR /src
COPY constraints.txt docker/mlflow.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --requirement mlflow.txt \
 && useradd --uid 10001 --create-home app \
 && mkdir /mlflow \
 && chown app /mlflow
USER 10001
WORKDIR /mlflow
VOLUME /mlflow
EXPOSE 5000
HEALTHCHECK --interval=10s --start-period=2m \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen(\"http://127.0.0.1:5000/health\", timeout=5)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mlflow"]
CMD ["server", "--host", "0.0.0.0", "--port", "5000"]
