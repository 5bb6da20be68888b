# CPU:   docker build --tag mspn .
# CUDA:  docker build --tag mspn:cuda --build-arg TORCH=cu130 .
# Run:   docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:8000:8000 mspn      (--gpus all for CUDA)
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
WORKDIR /source
RUN python -m venv /opt/mspn
ENV PATH=/opt/mspn/bin:$PATH
# The largest layer, which only another version changes.
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt --index-url "https://download.pytorch.org/whl/${TORCH}" torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
ARG EXTRAS=serve
RUN pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/mspn /opt/mspn
# Weights are in the package; others are mounted, and named by --model.
ENV PATH=/opt/mspn/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MSPN_OFFLINE=1
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["mspn"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
