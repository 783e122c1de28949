"""A simulated observatory: real stars through made-up optics and detectors, with the truth kept. For the demo and tests."""

from avcd.simulate.camera import Camera, Exposure
from avcd.simulate.night import Night, Size, make_night
from avcd.simulate.transfer import Delivery, deliver

__all__ = ["Camera", "Delivery", "Exposure", "Night", "Size", "deliver", "make_night"]
