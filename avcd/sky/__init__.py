"""Sky: reference stars, detection, quality, plate solving. No catalogue, no network."""
