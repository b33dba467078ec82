"""What the demo mirrors: images of real files, and the commands that move them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Shipment:
    """A repository at the source with its tags, and where they go.

    Attributes:
        pulled: Whether they go into the store too.
    """

    source: str
    target: str
    tags: Mapping[str, Image | ImageIndex]
    pulled: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{{{','.join(self.tags)}}}" if len(self.tags) > 1 else self.source

    def commands(self, source_host: str, target_host: str) -> Iterator[list[str]]:
        """What a user types: a copy for one image, a mirror for several, and perhaps pulls."""
        source, target = f"{source_host}/{self.source}", f"{target_host}/{self.target}"
        if len(self.tags) == 1:
            for tag in self.tags:
                yield ["copy", f"{source}:{tag}", f"{target}:{tag}"]
        else:
            yield ["mirror", source, target, *(part for tag in self.tags for part in ("-t", tag))]
        if self.pulled:
            for tag in self.tags:
                yield ["pull", f"{source}:{tag}", "--all-platforms"]

    def manifests(self) -> Iterator[tuple[str, bytes]]:
        """Everything that must arrive: tag or digest, and the bytes."""
        for tag, image in self.tags.items():
            if isinstance(image, Image):
                yield tag, image.manifest.raw
                continue
            yield tag, image.index.raw
            for child in image.images:
                yield str(child.digest), child.manifest.raw


def build_cargo() -> list[Shipment]:
    """Build the images: three that share layers, one with odd layers, two of other kinds."""
    base = build_image("base", layers=3, layer_bytes=12_000_000)
    app = {
        f"1.{n}": build_image(f"app 1.{n}", base=base, layers=2, layer_bytes=4_000_000)
        for n in range(3)
    }
    tools = build_image(
        "tools",
        layers=4,
        layer_bytes=8_000_000,
        compression=["zstd", "gzip"],
        repeated_layer=True,
        empty_layer=True,
    )
    classic = build_image("classic", layers=3, layer_bytes=4_000_000, media="docker")
    service = build_index(
        [
            build_image("service", platform=platform, layers=3, layer_bytes=4_000_000)
            for platform in (AMD64, ARM64)
        ],
        attestations=True,
    )
    return [
        Shipment("team/app", "mirror/app", app),
        Shipment("team/tools", "mirror/tools", {"stable": tools}),
        Shipment("team/classic", "mirror/classic", {"7": classic}),
        Shipment("team/service", "mirror/service", {"2024": service}, pulled=True),
    ]


def push_cargo(shipments: Sequence[Shipment], registry_url: str) -> None:
    """Push the images to the source, by a client that shares no code with Transship."""
    for shipment in shipments:
        for tag, image in shipment.tags.items():
            if isinstance(image, ImageIndex):
                push_index(registry_url, shipment.source, tag, image)
            else:
                push_to_registry(registry_url, shipment.source, tag, image)
