"""What the services and the training tree of wanimage share; imports neither of them."""

__version__ = "0.1.0"
