# JupyterLab with reidlab, its notebooks and the built-in data, for a user who is not root:
#
#     docker build --tag reidlab .
#     docker run --rm --publish 127.0.0.1:8888:8888 --volume reidlab-reports:/home/reid/reidlab/reports reidlab
#
# JupyterLab prints an address with a token; open that one. Data sets of your own:
# --volume /your/data:/home/reid/reidlab/data/raw:ro. Several processes that load images need --ipc=host.
#
# Not built so far: the machines where reidlab is developed have no container runtime. Its steps are those of `make env`,
# which is tested, and tests/test_container.py checks that what it names exists.
FROM python:3.11.14-slim-bookworm

RUN useradd --create-home --uid 1000 reid
USER reid
WORKDIR /home/reid/reidlab
ENV PATH=/home/reid/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1

# packages first: they change less often than the code
COPY --chown=reid:reid pyproject.toml constraints.txt README.md LICENSE ./
COPY --chown=reid:reid reidlab/ reidlab/
COPY --chown=reid:reid notebooks/ notebooks/
COPY --chown=reid:reid data/README.md data/
RUN python -m venv /home/reid/venv \
    && python -m pip install --quiet --constraint constraints.txt uv \
    && uv pip install --quiet --compile-bytecode --constraint constraints.txt --editable ".[tracking,export,fast,explore,cluster]"

COPY --chown=reid:reid . .
# the built-in data set is drawn now, and everything that notebook 01 needs has worked once
RUN reidlab run 01 && mkdir -p reports data/raw

EXPOSE 8888
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8888/api')"]
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--notebook-dir=/home/reid/reidlab"]
