"""avcd: the always-on data service of an observatory."""

__version__ = "0.1.0"
