FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked && mkdir /data && cp target/release/registrar /registrar

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /registrar /usr/local/bin/registrar
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
EXPOSE 50051 9464
ENTRYPOINT ["/usr/local/bin/registrar"]
CMD ["serve"]
