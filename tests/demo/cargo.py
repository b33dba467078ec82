"""What the demo mirrors: images of real files, and the commands that move them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.support.images import (
    AMD64,
    ARM64,
    Image,
    ImageIndex,
    build_image,
    build_index,
    push_index,
    push_to_registry,
)
from tests.support.registries import RegistryProcess


@dataclass(frozen=True)
class Shipment:
    """A repository at the source with its tags, and where they go."""

    source: str
    target: str
    tags: Mapping[str, Image | ImageIndex]

    def command(self, source_host: str, target_host: str) -> list[str]:
        """What a user types: a copy for one image, a mirror for several."""
        if len(self.tags) == 1:
            (tag,) = self.tags
            return [
                "copy",
                f"{source_host}/{self.source}:{tag}",
                f"{target_host}/{self.target}:{tag}",
            ]
        named = [part for tag in self.tags for part in ("--tag", tag)]
        return ["mirror", f"{source_host}/{self.source}", f"{target_host}/{self.target}", *named]

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        """Everything that must arrive: tag or digest, and the bytes."""
        for tag, image in self.tags.items():
            if isinstance(image, Image):
                yield tag, image.manifest.raw
                continue
            yield tag, image.index.raw
            for child in image.images:
                yield str(child.digest), child.manifest.raw


def load_cargo(registry: RegistryProcess) -> list[Shipment]:
    """Build the images and push them to the source registry."""
    base = build_image("base", layers=3, layer_bytes=6_000_000)
    shipments = [
        Shipment(
            "team/app",
            "mirror/team/app",
            {
                f"1.{n}": build_image(f"app 1.{n}", base=base, layers=1, layer_bytes=2_000_000)
                for n in range(3)
            },
        ),
        Shipment(
            "team/tools",
            "mirror/team/tools",
            {
                "stable": build_image(
                    "tools",
                    layers=4,
                    layer_bytes=4_000_000,
                    compression=["gzip", "zstd"],
                    repeated_layer=True,
                    empty_layer=True,
                )
            },
        ),
        Shipment(
            "team/service",
            "mirror/team/service",
            {
                "2024": build_index(
                    [
                        build_image("service", platform=platform, layer_bytes=3_000_000)
                        for platform in (AMD64, ARM64)
                    ]
                )
            },
        ),
    ]
    for shipment in shipments:
        for tag, image in shipment.tags.items():
            if isinstance(image, ImageIndex):
                push_index(registry.url, shipment.source, tag, image)
            else:
                push_to_registry(registry.url, shipment.source, tag, image)
    return shipments
