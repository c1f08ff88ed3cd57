# One image for every node: docker build --tag framepair .
# BASE is any image with Python 3.11 or newer and its venv module.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml deploy/constraints.txt ./
# A container has no screen: headless OpenCV decodes the same videos, and needs no library of the system.
RUN sed -i 's/"opencv-python>/"opencv-python-headless>/' pyproject.toml \
 && python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > dependencies.txt \
 && python3 -m venv /opt/framepair \
 && /opt/framepair/bin/pip install --no-cache-dir -r dependencies.txt -c constraints.txt
COPY README.md LICENSE ./
COPY framepair framepair
RUN /opt/framepair/bin/pip install --no-cache-dir --no-deps . \
 && /opt/framepair/bin/pip check \
 && /opt/framepair/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
ARG VERSION=0
LABEL org.opencontainers.image.title=framepair \
      org.opencontainers.image.description="Pairs of video frames by capture time" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=${VERSION}
COPY --from=build /opt/framepair /opt/framepair
COPY deploy/container/healthcheck.sh /usr/local/bin/healthcheck
COPY deploy/container/keys.sh /usr/local/bin/keys
COPY deploy/container/node.sh /usr/local/bin/node
# /dev/shm is the only place that a read-only container can write to.
ENV PATH=/opt/framepair/bin:${PATH} PYTHONUNBUFFERED=1 TMPDIR=/dev/shm
# Volumes mounted here get this owner and mode: a node's own keys, and the keys of all nodes where those are made.
RUN mkdir --mode=700 /keys /made /made/combiner /made/left /made/right /made/sink /made/monitor \
 && chown --recursive 10001:10001 /keys /made
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
# Run it with an init (docker run --init): the kernel does not deliver every signal to process 1.
# For one node alone: --entrypoint node, and framepair.nodes.NODE.
ENTRYPOINT ["framepair"]
