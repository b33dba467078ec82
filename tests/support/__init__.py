"""What tests stand on: images, processes, registries, proxies."""
