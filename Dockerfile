# docker build -t correlight:0.1.0 .
# docker run --rm -u "$(id -u):$(id -g)" -v "$PWD":/data correlight:0.1.0 correlight register em.tif light.tif -o out
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir build==1.6.1 && python -m build --wheel

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="correlight" \
      org.opencontainers.image.licenses="BSD-3-Clause AND Bitstream-Vera"
# What runs it may give it any user, who has no home. No entry point: pipelines run a shell in it.
ENV HOME=/tmp MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1
COPY --from=build /build/dist/*.whl /tmp/wheel/
# Nextflow measures its tasks with ps.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends procps \
 && rm -rf /var/lib/apt/lists/*
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3013
RUN wheel="$(echo /tmp/wheel/*.whl)" \
 && pip install --no-cache-dir "${wheel}[formats,cluster]" \
 && rm -r /tmp/wheel \
 && correlight --version \
 && useradd --create-home --uid 1000 correlight
USER 1000
WORKDIR /data
CMD ["correlight", "--help"]
