# The image of closeby: one binary, no shell, nobody's root.
#
#   docker build -t closeby:latest .
#   docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/closeby:0.2.0 --push .
#
# It needs nothing that only BuildKit has, so the classic builder of engine 20.10 builds it, too.
# Both bases are arguments, for where nothing can be pulled (docs/operations.md):
#   BUILD_BASE    has cargo and a C compiler. One that has the binary as /out/closeby is taken as it is.
#   RUNTIME_BASE  has the C library that the binary was linked with and the usual certificates, and no more.
# For the same image from the same commit, give both by digest.

ARG BUILD_BASE=rust:1.92-bookworm
ARG RUNTIME_BASE=gcr.io/distroless/cc-debian12

FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY . .
# /out/data is where an empty volume gets its owner from; a base without a shell cannot make it.
RUN if [ ! -x /out/closeby ]; then \
        RUSTFLAGS="--remap-path-prefix=/src=." cargo build --release --locked --bin closeby && \
        mkdir -p /out && cp target/release/closeby /out/closeby; \
    fi && mkdir -p /out/data

FROM ${RUNTIME_BASE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="closeby" \
      org.opencontainers.image.description="A file store that keeps each content once, on two servers, and serves it from the nearest" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/closeby/
COPY --from=build /out/closeby /usr/local/bin/closeby
COPY --from=build --chown=10001:10001 /out/data /data
# By number: a base need not know any names.
USER 10001:10001
# Central and nodes listen on the same port inside, so that one health check fits both.
ENV CLOSEBY_LISTEN=0.0.0.0:8080 CLOSEBY_DATA=/data
EXPOSE 8080
VOLUME /data
STOPSIGNAL SIGTERM
# Whether the process answers, and nothing about others: what is unhealthy is killed, and killing a node
# does not bring central back. Swarm names a task to others only once it is healthy, so it asks often.
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 \
    CMD ["/usr/local/bin/closeby", "health", "--alive", "--timeout", "4", "--server", "http://127.0.0.1:8080"]
ENTRYPOINT ["/usr/local/bin/closeby"]
CMD ["--help"]
