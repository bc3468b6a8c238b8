"""`python -m wanimage.cli`, for places where the `wan` script is not on PATH."""

from wanimage.cli.main import app

if __name__ == "__main__":
    app()
