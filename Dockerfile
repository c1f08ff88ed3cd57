# One image for every node: docker build -t framepair .
# Any base with Python 3.11 or newer and its venv module will do.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml ./
# A container has no screen: headless OpenCV decodes the same videos, and needs no library of the system.
RUN sed -i 's/"opencv-python>/"opencv-python-headless>/' pyproject.toml \
 && python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > dependencies.txt \
 && python3 -m venv /opt/framepair \
 && /opt/framepair/bin/pip install --no-cache-dir -r dependencies.txt
COPY README.md LICENSE ./
COPY framepair framepair
RUN /opt/framepair/bin/pip install --no-cache-dir --no-deps . \
 && /opt/framepair/bin/pip check \
 && /opt/framepair/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
COPY --from=build /opt/framepair /opt/framepair
ENV PATH=/opt/framepair/bin:${PATH} PYTHONUNBUFFERED=1
# A volume that is mounted here belongs to that user, too.
RUN mkdir --mode=700 /keys && chown 10001:10001 /keys
# A number, so that Kubernetes can tell that it isn't root.
USER 10001:10001
# Run it with an init (docker run --init), which hands signals on: to process 1 the kernel itself does less.
ENTRYPOINT ["python", "-m"]
CMD ["framepair"]
