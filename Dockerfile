# The operator's image. `make image` builds it; docs/install.md says how to name, push and pin it.
#
# Both stages use a slim Python 3.13 as the base. To pin the base image, name its digest:
# --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# One environment has pip and the build tools, another one has what the image ships.
RUN python -m venv tools && python -m venv --without-pip /opt/atlas-invites
COPY requirements/run.txt requirements/build.txt requirements/
RUN tools/bin/pip install --require-hashes --only-binary :all: -r requirements/build.txt \
 && tools/bin/pip --python /opt/atlas-invites/bin/python install --require-hashes --only-binary :all: -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
 && tools/bin/pip --python /opt/atlas-invites/bin/python install --no-deps --no-index wheels/*.whl

FROM ${PYTHON_IMAGE}
# A running container must not be able to install software.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip /usr/local/lib/python3*/site-packages/pip* \
      /usr/lib/python3*/ensurepip /usr/share/python-wheels
COPY --from=build /opt/atlas-invites /opt/atlas-invites
ENV PATH=/opt/atlas-invites/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="atlas-invites" \
      org.opencontainers.image.description="MongoDB Atlas project invitations as Kubernetes resources" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A number, so that Kubernetes can check that the user is not root.
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["atlas-invites"]
CMD ["run"]
