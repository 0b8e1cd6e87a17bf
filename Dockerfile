# The two images of Coatcheck for those who build with a Dockerfile: FROM scratch, over the root file systems that
# `make image` lays out. Nothing is run or fetched, so it builds offline, and for any architecture on any machine:
#   make image && buildah build --target coatcheck -t registry.example/coatcheck:0.1.0 .
#   make image ARGS='--architecture arm64' && buildah build --platform linux/arm64 --build-arg SUFFIX=-arm64 --target coatcheck .
# `make image` itself makes the same images as OCI archives, without any of this (docs/image.md).

FROM scratch AS coatcheck-exchange
ARG SUFFIX=
LABEL org.opencontainers.image.title=coatcheck-exchange
COPY --chown=0:0 dist/rootfs/coatcheck-exchange${SUFFIX}/ /
WORKDIR /
ENV BUN_JSC_useJIT=0
USER 65532:65532
ENTRYPOINT ["/coatcheck-exchange"]

FROM scratch AS coatcheck
ARG SUFFIX=
LABEL org.opencontainers.image.title=coatcheck
COPY --chown=0:0 dist/rootfs/coatcheck${SUFFIX}/ /
WORKDIR /
ENV NODE_ENV=production
USER 65532:65532
ENTRYPOINT ["/usr/bin/node", "/coatcheck/coatcheck.mjs"]
