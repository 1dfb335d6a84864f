# The service, the simulator and the client: one binary on a base that has libraries, certificates
# and a user, and no shell. Any builder takes this file, BuildKit or not.
FROM rust:1.95-bookworm AS build
WORKDIR /src

# The dependencies first, around an empty program, so that they are built again only when they
# change. Tests are left out here; without their files cargo would refuse a manifest with them.
COPY Cargo.toml Cargo.lock ./
RUN sed -i '/^\[\[test\]\]/,/^$/d' Cargo.toml && cp Cargo.toml /tmp \
 && mkdir src && touch src/lib.rs && echo 'fn main() {}' | tee build.rs > src/main.rs \
 && cargo build --release --locked

# cargo goes by the times of files, and those of the source may be older than that program.
COPY . .
RUN cp /tmp/Cargo.toml . && touch build.rs src/lib.rs src/main.rs \
 && cargo build --release --locked --bin registrar \
 && mkdir /out /data && cp target/release/registrar /out/

FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="registrar" \
      org.opencontainers.image.description="Registers IoT devices in bulk on Alibaba Cloud IoT Platform, without losing one" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/registrar /usr/local/bin/registrar
# What the simulator keeps. A volume mounted here belongs to the user below.
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
EXPOSE 50051 9464 8090
# Whom `registrar health` asks: the admin port, which has no TLS.
ENV REGISTRAR_ADMIN=http://127.0.0.1:9464
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["/usr/local/bin/registrar", "health"]
ENTRYPOINT ["/usr/local/bin/registrar"]
CMD ["serve"]
