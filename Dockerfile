# A library behind HTTP, on CPUs: docs/docker.md says how to run it.
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY mmi_tvr mmi_tvr
COPY configs configs
COPY prompts prompts
RUN python -m pip wheel --no-cache-dir --no-deps --constraint constraints.txt --wheel-dir /wheels .

FROM python:3.11.13-slim-bookworm
# Which extras: pyproject.toml says what each is for.
ARG EXTRAS=serve,mcp,fulltext,photos
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    MMI_TVR_LIBRARY=/library
COPY constraints.txt /tmp/constraints.txt
# PyTorch's own index has the build for CPUs, which is 2 GB smaller than the one with CUDA.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    python -m pip install --no-cache-dir --constraint /tmp/constraints.txt \
      --extra-index-url https://download.pytorch.org/whl/cpu \
      "$(echo /wheels/*.whl)[${EXTRAS}]" \
    && rm /tmp/constraints.txt \
    && useradd --create-home --uid 1000 mmi \
    && install --directory --owner=mmi --group=mmi --mode=700 /library
USER 1000
WORKDIR /home/mmi
VOLUME ["/library"]
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
ENTRYPOINT ["mmi-tvr"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]
