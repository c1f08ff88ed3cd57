# One image for every node: docker build --tag framepair .
# BASE is any image with Python 3.11 or newer and its venv module.
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
# A volume mounted here gets this owner and mode.
RUN mkdir --mode=700 /keys && chown 10001:10001 /keys
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
# Run it with an init (docker run --init): the kernel does not deliver every signal to process 1.
ENTRYPOINT ["python", "-m"]
CMD ["framepair"]
